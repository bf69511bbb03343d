"""The only module that knows Optuna's storage, and with it the only truth about a run.

One Optuna trial is one configuration. What a trial is, beyond Optuna's own fields, stands in its
user attributes: the configuration, the preset it came from, Ray Tune's id, and one record per rung.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from nst_core.errors import RunError
from search_spaces import Choice, Int, Params, Space
from tuner.job import SamplerName
from tuner.journal import BatchingJournal
from tuner.objective import Goals
from tuner.records import RungRecord, TrialRecord
from tuner.samplers import (
    FINAL_OF,
    PRESET,
    RUNG,
    VALUES,
    WAITS,
    make_sampler,
    reported,
)

optuna.logging.set_verbosity(optuna.logging.WARNING)

STUDY_FILE = "study.journal"
_STUDY_NAME = "run"

#: What people call Optuna's states.
STATES: Mapping[TrialState, str] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


class RunStudy:
    """A run's study, open for writing; one driver at a time.

    Args:
        study: Optuna's.
        journal: the file that it is kept in, if it is in one.
        goals: what trials are ranked by.
        sampler: draws parameters.
        seed: of all draws.
    """

    def __init__(
        self,
        study: optuna.Study,
        journal: BatchingJournal | None,
        *,
        goals: Goals,
        sampler: SamplerName,
        seed: int,
    ):
        self._study, self._journal, self._goals = study, journal, goals
        self._sampler_name, self._seed = sampler, seed
        self._live: dict[int, optuna.Trial] = {}

    @classmethod
    def create(cls, folder: Path, *, goals: Goals, **settings: Any) -> RunStudy:
        """Start the study of a new run in ``folder``."""
        journal = BatchingJournal(folder / STUDY_FILE)
        study = optuna.create_study(
            storage=JournalStorage(journal),
            study_name=_STUDY_NAME,
            directions=goals.directions,
        )
        return cls(study, journal, goals=goals, **settings)

    @classmethod
    def open(cls, folder: Path, *, goals: Goals, **settings: Any) -> RunStudy:
        """Go on with the study in ``folder``, after mending what a killed driver left."""
        _cut_torn_line(folder / STUDY_FILE)
        return cls(*_load(folder), goals=goals, **settings)

    @classmethod
    def in_memory(cls, *, goals: Goals, **settings: Any) -> RunStudy:
        """A study that nothing is left of, for simulations."""
        return cls(optuna.create_study(directions=goals.directions), None, goals=goals, **settings)

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

    def records(self) -> list[TrialRecord]:
        """Every trial, by number."""
        return [_record(trial) for trial in self._study.get_trials(deepcopy=False)]

    def record(self, number: int) -> TrialRecord:
        """One trial."""
        return _record(self._study.get_trials(deepcopy=False)[number])

    def unfinished(self) -> dict[int, int | None]:
        """Trials that a killed driver left: number -> steps at which it waits, None if it ran."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return {t.number: t.user_attrs.get(WAITS) for t in trials if t.number not in self._live}

    def __len__(self) -> int:
        return len(self._study.get_trials(deepcopy=False))

    # --- a trial's life -------------------------------------------------------------------------

    def begin(self, fixed: Params | None = None) -> int:
        """Create a trial and return its number; ``fixed`` parameters will be drawn as given."""
        trial = self._with_sampler(len(self), fixed).ask()
        self._live[trial.number] = trial
        return trial.number

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
        trial = self._live[number]
        drawn: dict[str, float | int | str] = {}
        for name, parameter in space.params.items():
            if not space.active(name, drawn):
                continue
            if isinstance(parameter, Choice):
                drawn[name] = trial.suggest_categorical(name, parameter.options)
            elif isinstance(parameter, Int):
                low, high = parameter.low, parameter.high
                drawn[name] = trial.suggest_int(name, low, high, log=parameter.log)
            else:
                low_end, high_end = parameter.low, parameter.high
                drawn[name] = trial.suggest_float(name, low_end, high_end, log=parameter.log)
        return drawn

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
    study, _ = _load(folder)
    return [_record(t) for t in study.get_trials(deepcopy=False)], study.user_attrs


def _load(folder: Path) -> tuple[optuna.Study, BatchingJournal]:
    path = folder / STUDY_FILE
    if not path.is_file():
        raise RunError(f"{folder}: not a run directory (it has no {STUDY_FILE})")
    try:
        journal = BatchingJournal(path)
        return optuna.load_study(study_name=_STUDY_NAME, storage=JournalStorage(journal)), journal
    except (KeyError, ValueError, OSError) as error:
        raise RunError(f"{path}: cannot be read as a study ({error})") from None


def _cut_torn_line(path: Path) -> None:
    """Drop the half-written last line of a driver that was killed while writing."""
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        content = path.read_bytes()
        file.truncate(content.rfind(b"\n") + 1)


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
