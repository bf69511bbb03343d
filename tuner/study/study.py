"""The study of a run: the only record of what was tried.

One Optuna trial is one configuration. Its user attributes hold what Optuna has no field for: the
configuration, the preset that it came from, and one record per rung.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from nst_core.errors import NstError, RunError
from tuner.job.objective import Goals
from tuner.study.attributes import ASKED_BY, BEYOND, FINAL_OF, PAUSED, PRESET, RESUMED, RUNG, VALUES
from tuner.study.journal_reader import ReadTrial, UnknownRecordError, read_journal
from tuner.study.optuna_private import CHECKED, storage_of, trial_id
from tuner.study.records import RungRecord, TrialRecord
from tuner.study.run_files import STUDY_FILE
from tuner.study.storage import StudyHandle, create_study, damaged, load_study, mend
from tuner.study.validation import check_compared, checked_notes, record_of
from tuner.study.versions import warn_if_unchecked

optuna.logging.set_verbosity(optuna.logging.WARNING)
log = logging.getLogger(__name__)

#: Version of the stored format. Older versions stay readable (`tests/tuner/golden`).
FORMAT, FORMAT_NOTE = 2, "format"

#: Attribute of a trial: the driver that runs it, if several drivers share the study.
_DRIVER = "driver"
#: Note of a study: the last sign of life of a driver, in seconds since 1970.
_SEEN = "seen-{}"
#: Seconds between two signs of life, and after which a silent driver counts as dead.
SIGN_EVERY_S, SILENT_S = 30.0, 600.0


class Resumption(NamedTuple):
    """The state in which an unfinished trial is resumed.

    Attributes:
        paused_at: steps of the rung at which the trial is paused, or None if it was running.
        continued_past: steps of the last rung beyond which the search let it continue; 0 for none.
    """

    paused_at: int | None
    continued_past: int


class RunStudy:
    """The study of a run, open for writing.

    Only one driver at a time may write to a journal; several may share a database.

    Args:
        handle: the study and its storage.
        goals: objectives and constraints of the run.
    """

    def __init__(self, handle: StudyHandle, *, goals: Goals):
        self._study, self._storage, self._journal = handle.study, handle.storage, handle.journal
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._goals = goals
        self._driver = handle.driver
        self._live: dict[int, optuna.Trial] = {}
        self._sign_at_s = 0.0

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        goals: Goals,
        url: str | None = None,
        name: str = "",
        notes: Mapping[str, Any] | None = None,
    ) -> RunStudy:
        """Create the study of a new run, or join a shared one; see `storage.create_study`."""
        warn_if_unchecked("optuna", CHECKED)
        notes = {**(notes or {}), FORMAT_NOTE: FORMAT}
        handle = create_study(folder, goals.directions, url=url, name=name, notes=notes)
        return cls(handle, goals=goals)

    @classmethod
    def open(cls, folder: Path, *, goals: Goals) -> RunStudy:
        """Open the study of a run, after repairing what a killed driver left behind."""
        warn_if_unchecked("optuna", CHECKED)
        mend(folder)
        return cls(load_study(folder), goals=goals)

    @classmethod
    def in_memory(cls, *, goals: Goals) -> RunStudy:
        """Return an empty study in memory, for simulations."""
        storage = optuna.storages.InMemoryStorage()
        study = optuna.create_study(storage=storage, directions=goals.directions)
        return cls(StudyHandle(study=study, storage=storage), goals=goals)

    def batch(self) -> AbstractContextManager[None]:
        """Return a context in which records are held back, to be written together at its end."""
        return self._journal.batch() if self._journal else nullcontext()

    # --- notes and trials -----------------------------------------------------------------------

    def note(self, key: str, value: Any) -> None:
        """Store a JSON value with the study."""
        self._study.set_user_attr(key, value)

    @property
    def notes(self) -> Mapping[str, Any]:
        """The values that `note` stored, by key."""
        return self._study.user_attrs

    def records(self, *, own: bool | None = None) -> list[TrialRecord]:
        """Return the trials, ordered by number.

        Args:
            own: True for the trials of this driver only, False for those of others, None for all.
        """
        return [
            record_of(trial)
            for trial in self._study.get_trials(deepcopy=False)
            if own is None or own == (trial.user_attrs.get(_DRIVER) == self._driver)
        ]

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """Every trial as an object of Optuna. Callers must not change them."""
        return self._study.get_trials(deepcopy=False)

    def record(self, number: int) -> TrialRecord:
        """Return one trial."""
        return record_of(self._frozen(number))

    def unfinished(self) -> dict[int, Resumption]:
        """Return number -> state of each trial that a killed launch of this driver left."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return {
            t.number: _resumption(t)
            for t in trials
            if t.number not in self._live and t.user_attrs.get(_DRIVER) == self._driver
        }

    def resumption(self, number: int) -> Resumption:
        """Return the state in which a trial would be resumed."""
        return _resumption(self._frozen(number))

    def heartbeat(self) -> None:
        """Send other drivers a sign of life if the last one is old enough. Call this often."""
        if self.shared and time.monotonic() > self._sign_at_s:
            self._sign_at_s = time.monotonic() + SIGN_EVERY_S
            self.note(_SEEN.format(self._driver), time.time())

    def others_running(self) -> int:
        """Return the number of running trials of other drivers, and send a sign of life.

        Paused trials do not count, nor do trials of a driver that was silent for `SILENT_S`.
        """
        self.heartbeat()
        now_s, notes = time.time(), self.notes
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        drivers = [
            trial.user_attrs.get(_DRIVER)
            for trial in running
            if _resumption(trial).paused_at is None
        ]
        return sum(
            driver != self._driver and now_s - notes.get(_SEEN.format(driver), 0.0) < SILENT_S
            for driver in drivers
        )

    @property
    def shared(self) -> bool:
        """Whether other drivers may write to the study as well."""
        return self._driver is not None

    def __len__(self) -> int:
        return len(self._study.get_trials(deepcopy=False))

    # --- a trial's life -------------------------------------------------------------------------

    def begin(self) -> int:
        """Create a trial and return its number, which no other driver gets."""
        # Optuna's sampler may act as soon as a trial exists, but its seed depends on the trial's
        # number, which is not known yet: other drivers may create trials at the same moment.
        self._study.sampler = optuna.samplers.RandomSampler()
        trial = self._study.ask() if self._driver is None else self._own_trial(self._driver)
        self._live[trial.number] = trial
        return trial.number

    def _own_trial(self, driver: str) -> optuna.Trial:
        """Create a trial that names its driver at once, so that no other driver resumes it."""
        template = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={_DRIVER: driver})
        new_id = storage_of(self._study).create_new_trial(self._study_id, template)
        return optuna.Trial(self._study, new_id)

    def asked_by(self, number: int, command_id: str) -> None:
        """Record that a person asked for a trial, with a command of `tuner.study.commands`."""
        self._live[number].set_user_attr(ASKED_BY, command_id)

    def revive(self, number: int) -> None:
        """Resume a trial that a killed driver left unfinished."""
        self._study.sampler = optuna.samplers.RandomSampler()
        self._live[number] = optuna.Trial(self._study, trial_id(self._frozen(number)))

    def sampled_by(self, sampler: optuna.samplers.BaseSampler, number: int) -> optuna.Trial:
        """Return a trial that has begun, as an object whose suggestions come from ``sampler``."""
        self._study.sampler = sampler
        trial = self._live[number] = optuna.Trial(self._study, trial_id(self._live[number]))
        return trial

    def assign(
        self,
        number: int,
        config: Mapping[str, Any],
        *,
        preset: str | None = None,
        final_of: int | None = None,
        full: bool = False,
        note: str | None = None,
    ) -> None:
        """Record the configuration of a trial; for the others see `TrialRecord`."""
        trial = self._live[number]
        if preset:
            trial.set_user_attr(PRESET, preset)
        if final_of is not None:
            trial.set_user_attr(FINAL_OF, final_of)
        if full:
            trial.set_user_attr("full", True)
        if note:
            trial.set_user_attr("note", note)
        trial.set_user_attr("config", dict(config))

    def record_continue(self, number: int, steps: int) -> None:
        """Record that a trial continues beyond the rung at ``steps``."""
        self._live[number].set_user_attr(RESUMED, steps)

    def report(self, number: int, steps: int, rung: RungRecord) -> None:
        """Record a report at a rung; a second report at the same rung changes nothing."""
        trial, key = self._live[number], RUNG.format(steps)
        if key in self._frozen(number).user_attrs:
            return
        values = self._values(rung)
        trial.set_user_attr(key, {**vars(rung), "objective": values[0], VALUES: values})
        if not self._goals.pareto:  # Optuna accepts no reports with several objectives
            trial.report(values[0], steps)

    def remark(self, number: int, note: str) -> None:
        """Append a sentence to the note of a trial."""
        before = self._frozen(number).user_attrs.get("note")
        self._live[number].set_user_attr("note", f"{before}; {note}" if before else note)

    def beyond(self, number: int, excess: Mapping[str, float]) -> None:
        """Record the constraint violations that are certain before a trial's first step."""
        self._live[number].set_user_attr(BEYOND, dict(excess))
        for name, violation in excess.items():
            self._live[number].set_constraint(name, violation)

    def wait(self, number: int, steps: int | None) -> None:
        """Record that a trial pauses at the rung at ``steps``, or (None) that it runs again."""
        self._live[number].set_user_attr(PAUSED, steps)

    def finish(
        self, number: int, state: str, reason: str | None = None, *, seconds: float = 0.0
    ) -> None:
        """Close a trial; closing it twice changes nothing.

        Args:
            number: number of the trial.
            state: ``complete``, ``pruned`` or ``failed``.
            reason: why it was pruned or failed, for people.
            seconds: engine time that it used, if that is more than its last rung says.
        """
        trial = self._live.pop(number, None)
        if trial is None:
            return
        if reason:
            trial.set_user_attr("reason", reason)
        if seconds:
            trial.set_user_attr("seconds", seconds)
        best = self.record(number).best_rung(self._goals)
        if best is not None:
            for name, excess in self._goals.violations(best[1].scores).items():
                trial.set_constraint(name, excess)
        if state == "complete" and best is not None:
            self._study.tell(trial, self._values(best[1]), skip_if_finished=True)
        else:
            final_state = TrialState.PRUNED if state == "pruned" else TrialState.FAIL
            self._study.tell(trial, state=final_state, skip_if_finished=True)

    def _frozen(self, number: int) -> FrozenTrial:
        """Return one stored trial; Optuna's `Study` can only list all of them."""
        find = self._storage.get_trial_id_from_study_id_trial_number
        return self._storage.get_trial(find(self._study_id, number))

    def _values(self, rung: RungRecord) -> list[float]:
        return [float(objective.of(rung.scores)) for objective in self._goals.objectives]


def load_records(folder: Path) -> tuple[list[TrialRecord], Mapping[str, Any]]:
    """Read the trials and notes of a run.

    Raises:
        RunError: the folder is no run, a newer version wrote it, or its study is damaged.
        InputError: the database of the study cannot be used.
    """
    try:
        trials, notes = _read(folder)
        if notes.get(FORMAT_NOTE, FORMAT) > FORMAT:
            raise RunError(
                f"{folder}: was written by a newer version of nst-tuner (format"
                f" {notes[FORMAT_NOTE]}, this version reads up to {FORMAT}); update nst-tuner"
            )
        records, checked = [record_of(trial) for trial in trials], checked_notes(notes)
        check_compared(records, checked)
        return records, {**notes, **checked}
    except NstError:
        raise
    except Exception as error:  # a damaged record can lead to any error
        raise damaged(folder, error) from None


def _read(folder: Path) -> tuple[Sequence[FrozenTrial | ReadTrial], Mapping[str, Any]]:
    if (folder / STUDY_FILE).is_file():
        try:
            return read_journal(folder / STUDY_FILE)
        except UnknownRecordError as error:
            log.debug("%s: %s; read by Optuna", folder, error)
    study = load_study(folder).study
    return study.get_trials(deepcopy=False), study.user_attrs


def _resumption(trial: FrozenTrial) -> Resumption:
    return Resumption(trial.user_attrs.get(PAUSED), trial.user_attrs.get(RESUMED, 0))
