"""The only module that knows Optuna's storage, and with it the only truth about a run.

One Optuna trial is one configuration. What a trial is, beyond Optuna's own fields, stands in its
user attributes: the configuration, the preset it came from, Ray Tune's id, and one record per rung.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Params, Space
from tuner.job import SamplerName
from tuner.objective import Goals
from tuner.records import RungRecord, TrialRecord
from tuner.samplers import (
    FINAL_OF,
    PRESET,
    RUNG,
    VALUES,
    WAITS,
    WENT_ON,
    make_sampler,
    reported,
    suggested,
)
from tuner.storage import Kept, create_study, load_study, mend

optuna.logging.set_verbosity(optuna.logging.WARNING)

#: Attribute of a trial: the driver that runs it, where several share a study.
_DRIVER = "driver"

#: What people call Optuna's states.
STATES: Mapping[TrialState, str] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


class Left(NamedTuple):
    """How a killed driver left a trial.

    Attributes:
        waits: steps of the rung at which it waits, None if it ran.
        went_on: steps of the last rung beyond which it was told to go on.
    """

    waits: int | None
    went_on: int


class RunStudy:
    """A run's study, open for writing.

    Args:
        kept: the study and where it is kept; one driver at a time writes to a journal, and several
            may share a database.
        goals: what trials are ranked by.
        sampler: draws parameters.
        seed: of all draws.
    """

    def __init__(self, kept: Kept, *, goals: Goals, sampler: SamplerName, seed: int):
        self._study, self._journal, self._goals = kept.study, kept.journal, goals
        self._driver = kept.driver
        self._sampler_name, self._seed = sampler, seed
        self._live: dict[int, optuna.Trial] = {}

    @classmethod
    def create(
        cls, folder: Path, *, goals: Goals, url: str | None = None, name: str = "", **settings: Any
    ) -> RunStudy:
        """Start the study of a new run in ``folder``, or join one; see `storage.create_study`."""
        kept = create_study(folder, goals.directions, url=url, name=name)
        return cls(kept, goals=goals, **settings)

    @classmethod
    def open(cls, folder: Path, *, goals: Goals, **settings: Any) -> RunStudy:
        """Go on with the study of a run, after mending what a killed driver left."""
        mend(folder)
        return cls(load_study(folder), goals=goals, **settings)

    @classmethod
    def in_memory(cls, *, goals: Goals, **settings: Any) -> RunStudy:
        """A study that nothing is left of, for simulations."""
        kept = Kept(study=optuna.create_study(directions=goals.directions))
        return cls(kept, goals=goals, **settings)

    def at_once(self) -> AbstractContextManager[None]:
        """While it is entered, what is recorded is kept back; then it is written as one."""
        return self._journal.batch() if self._journal else nullcontext()

    # --- plain facts of the run -----------------------------------------------------------------

    def note(self, key: str, value: Any) -> None:
        """Keep a plain JSON value with the run."""
        self._study.set_user_attr(key, value)

    @property
    def notes(self) -> Mapping[str, Any]:
        """What `note` kept."""
        return self._study.user_attrs

    def records(self, *, own: bool | None = None) -> list[TrialRecord]:
        """Every trial, by number; or only this driver's own, or only those of others."""
        return [
            _record(trial)
            for trial in self._study.get_trials(deepcopy=False)
            if own is None or own == (trial.user_attrs.get(_DRIVER) == self._driver)
        ]

    def record(self, number: int) -> TrialRecord:
        """One trial."""
        return _record(self._study.get_trials(deepcopy=False)[number])

    def unfinished(self) -> dict[int, Left]:
        """Trials that this driver left when it was killed, by number."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return {
            t.number: Left(t.user_attrs.get(WAITS), t.user_attrs.get(WENT_ON, 0))
            for t in trials
            if t.number not in self._live and t.user_attrs.get(_DRIVER) == self._driver
        }

    @property
    def shared(self) -> bool:
        """Whether other drivers may write to it as well."""
        return self._driver is not None

    def __len__(self) -> int:
        return len(self._study.get_trials(deepcopy=False))

    # --- a trial's life -------------------------------------------------------------------------

    def begin(self) -> int:
        """Create a trial and return its number, which no other driver gets."""
        trial = self._with_sampler(len(self), None).ask()
        self._live[trial.number] = trial
        if self._driver is not None:
            trial.set_user_attr(_DRIVER, self._driver)
        return trial.number

    def fix(self, number: int, params: Params) -> None:
        """Let a trial that has begun draw these parameters as given."""
        study = self._with_sampler(number, params)
        self._live[number] = optuna.Trial(study, self._live[number]._trial_id)

    def revive(self, number: int, fixed: Params | None = None) -> TrialRecord:
        """Take up a trial that a killed driver left running."""
        frozen = self._study.get_trials(deepcopy=False)[number]
        study = self._with_sampler(number, fixed)
        self._live[number] = optuna.Trial(study, frozen._trial_id)
        return _record(frozen)

    def draw(self, number: int, space: Space) -> Params:
        """Draw the parameters of a trial.

        The sampler is seeded by the run's seed and the trial's number, so a draw depends on the
        study alone and a resumed run draws what an uninterrupted one would.
        """
        return suggested(self._live[number], space)

    def assign(
        self,
        number: int,
        config: Mapping[str, Any],
        *,
        preset: str | None = None,
        final_of: int | None = None,
        note: str | None = None,
    ) -> None:
        """Record what a trial runs."""
        trial = self._live[number]
        if preset:
            trial.set_user_attr(PRESET, preset)
        if final_of is not None:
            trial.set_user_attr(FINAL_OF, final_of)
        if note:
            trial.set_user_attr("note", note)
        trial.set_user_attr("config", dict(config))

    def go_on(self, number: int, steps: int) -> None:
        """Record that a trial goes on beyond a rung."""
        self._live[number].set_user_attr(WENT_ON, steps)

    def set_tune_id(self, number: int, tune_id: str) -> None:
        """Record under which id Ray Tune runs a trial."""
        self._live[number].set_user_attr("tune_id", tune_id)

    def report(self, number: int, steps: int, rung: RungRecord) -> None:
        """Record a rung; reporting the same rung again changes nothing."""
        trial, key = self._live[number], RUNG.format(steps)
        if key in self._study.get_trials(deepcopy=False)[number].user_attrs:
            return
        values = self._values(rung)
        kept = {**vars(rung), "objective": values[0], VALUES: values}
        trial.set_user_attr(key, kept)
        if not self._goals.pareto:  # with several objectives Optuna takes no reports
            trial.report(values[0], steps)

    def remark(self, number: int, note: str) -> None:
        """Add a sentence to what is to be known about a trial."""
        before = self._study.get_trials(deepcopy=False)[number].user_attrs.get("note")
        self._live[number].set_user_attr("note", f"{before}; {note}" if before else note)

    def wait(self, number: int, steps: int | None) -> None:
        """Record that a trial waits at a rung, or (None) that it goes on."""
        self._live[number].set_user_attr(WAITS, steps)

    def finish(self, number: int, state: str, reason: str | None = None) -> None:
        """Close a trial as ``complete``, ``pruned`` or ``failed``; closing it twice is harmless."""
        trial = self._live.pop(number, None)
        if trial is None:
            return
        if reason:
            trial.set_user_attr("reason", reason)
        best = self.record(number).best_rung(self._goals)
        if best is not None:
            for name, excess in self._goals.excess(best[1].scores).items():
                trial.set_constraint(name, excess)
        if state == "complete" and best is not None:
            self._study.tell(trial, self._values(best[1]), skip_if_finished=True)
        else:
            told = TrialState.PRUNED if state == "pruned" else TrialState.FAIL
            self._study.tell(trial, state=told, skip_if_finished=True)

    # --- inside ---------------------------------------------------------------------------------

    def _values(self, rung: RungRecord) -> list[float]:
        return [float(objective.of(rung.scores)) for objective in self._goals.objectives]

    def _with_sampler(self, number: int, fixed: Params | None) -> optuna.Study:
        seed = (self._seed * 1_000_003 + number) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = make_sampler(self._sampler_name, seed=seed)
            if fixed is not None:
                sampler = optuna.samplers.PartialFixedSampler(dict(fixed), sampler)
        self._study.sampler = sampler
        return self._study


def load_records(folder: Path) -> tuple[list[TrialRecord], Mapping[str, Any]]:
    """Trials and notes of a run, read only."""
    study = load_study(folder).study
    return [_record(t) for t in study.get_trials(deepcopy=False)], study.user_attrs


def _rung(stored: Mapping[str, Any]) -> RungRecord:
    known = {key: stored[key] for key in RungRecord.__dataclass_fields__ if key in stored}
    return RungRecord(**{**known, "pair_scores": tuple(stored.get("pair_scores", ()))})


def _record(trial: FrozenTrial) -> TrialRecord:
    attrs = trial.user_attrs
    rungs = {steps: _rung(attrs[RUNG.format(steps)]) for steps in sorted(reported(trial))}
    return TrialRecord(
        trial=trial.number,
        state=STATES[trial.state],
        params=trial.params,
        config=attrs.get("config", {}),
        preset=attrs.get(PRESET),
        final_of=attrs.get(FINAL_OF),
        note=attrs.get("note"),
        rungs=rungs,
        reason=attrs.get("reason"),
    )
