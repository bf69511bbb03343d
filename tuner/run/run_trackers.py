"""Trackers with one run for each trial, through one interface: Weights & Biases, and Trackio.

Trackio has the interface of wandb. A trial is sent when it ends, because a paused trial would keep
a run of the tracker open for hours. What a killed launch had not sent is sent when the trial ends
in a later launch, as far as its steps came later.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from dataclasses import dataclass, field
from typing import Any

from nst_core.errors import InputError
from tuner.job.spec import JobSpec
from tuner.search.protocol import Callback, Plan
from tuner.study.records import RungRecord
from tuner.study.run_dir import RunDir


@dataclass
class _Trial:
    """A trial that has not ended."""

    name: str
    config: dict[str, Any]
    reports: list[tuple[int, dict[str, float]]] = field(default_factory=list)


class RunTracker(Callback):
    """Sends every trial as a run of a tracker's project, which is named like the job.

    Subclasses name the package; their environment variables choose server, account and offline
    mode.

    Raises:
        InputError: the package is not installed.
    """

    #: Package of the tracker.
    package: str

    def __init__(self, job: JobSpec, run: RunDir):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self._tracker: Any = importlib.import_module(self.package)
        except ImportError:
            raise InputError(
                f"watch: {self.package} needs the package {self.package}:"
                f" pip install 'nst-tuner[{self.package}]'"
            ) from None
        self._job, self._run = job, run
        self._trials: dict[int, _Trial] = {}

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `Callback`."""
        name = preset or f"{'final' if plan.final else 'trial'} {plan.trial}"
        self._trials.setdefault(plan.trial, _Trial(name, plan.config.to_dict()))

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        if trial in self._trials:
            self._trials[trial].reports.append((steps, dict(rung.scores)))

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        if (ended := self._trials.pop(trial, None)) is None:
            return
        config = {**ended.config, "trial": trial, "state": state, "reason": reason}
        # Trackio prints at every run how to open its dashboard; standard output is for results,
        # and nothing else writes to it before the trackers have finished.
        with contextlib.redirect_stdout(io.StringIO()):
            sent = self._begin(ended.name, config)
            for steps, scores in ended.reports:
                sent.log(scores, step=steps)
            sent.finish()

    def _begin(self, name: str, config: dict[str, Any]) -> Any:
        """Begin a run of the tracker and return what has its ``log`` and ``finish``."""
        raise NotImplementedError


class WandbTracker(RunTracker):
    """Weights & Biases; with ``WANDB_MODE=offline`` the runs are in the run directory only."""

    package = "wandb"

    def _begin(self, name: str, config: dict[str, Any]) -> Any:
        quiet = self._tracker.Settings(silent=True, console="off")
        return self._tracker.init(
            project=project_name(self._job.name),
            group=self._run.path.resolve().name,
            name=name,
            config=config,
            dir=str(self._run.path),
            settings=quiet,
            reinit="create_new",
        )


class TrackioTracker(RunTracker):
    """Trackio; without ``TRACKIO_SPACE_ID`` the runs stay on this machine (``TRACKIO_DIR``)."""

    package = "trackio"

    def _begin(self, name: str, config: dict[str, Any]) -> Any:
        return self._tracker.init(
            project=project_name(self._job.name),
            name=f"{self._run.path.resolve().name} {name}",
            config=config,
        )


def project_name(job_name: str) -> str:
    """Return the name of a job as a project name, which may hold letters, digits, - and _ only."""
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in job_name)
    return kept.strip("-")[:100] or "nst-tuner"
