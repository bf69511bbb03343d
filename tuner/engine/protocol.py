"""TrialEngine: the boundary between whatever advances trials and whatever decides about them.

`Engine` advances lanes of our own stylizer, `tuner.stylizers.engine.StylizerEngine` trials of any
other. Backends know no more of them than this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tuner.study.records import EngineStats, Report


class TrialEngine(Protocol):
    """Advances the trials of one worker, and scores their pictures."""

    @property
    def busy(self) -> bool:
        """Whether there is something to advance, or a report to return."""
        ...

    @property
    def stats(self) -> EngineStats:
        """How the engine has spent its time since its first trial."""
        ...

    @property
    def steps(self) -> Mapping[int, int]:
        """Present step of each advancing trial, by trial number."""
        ...

    def holds(self, trial: int) -> bool:
        """Return whether a trial is on this engine."""
        ...

    def submit(
        self,
        trial: int,
        config: Any,
        until: int,
        beyond: int | None = None,
        *,
        holdout: bool = False,
        paused: bytes | None = None,
    ) -> None:
        """Request a report of a trial at step ``until``; see `Engine.submit`.

        Args:
            trial: number of the trial.
            config: its settings, of the kind that the engine runs.
            until: step of the requested report.
            beyond: step of the report that may be requested next; None: there is none.
            holdout: whether the trial also runs on the held-out pairs.
            paused: bytes from `pause` or `snapshot` to continue from.
        """
        ...

    def advance(self) -> list[Report]:
        """Work for a moment, and return the reports that are due and scored."""
        ...

    def images(self, trial: int) -> list[bytes]:
        """Return the images of a trial's last report as PNG files, one per pair."""
        ...

    def pause(self, trial: int) -> bytes | None:
        """Remove a trial; return its state if it can be saved."""
        ...

    def snapshot(self, trial: int) -> bytes | None:
        """Return the state of a trial, which continues, if it can be saved."""
        ...

    def drop(self, trial: int) -> None:
        """Remove a trial; unknown trials are ignored."""
        ...

    def close(self) -> None:
        """End what the engine has started; it is not used any more."""
        ...
