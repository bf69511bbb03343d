"""A run's study: the only truth about a run.

One Optuna trial is one configuration. What a trial is, beyond Optuna's own fields, stands in its
user attributes: the configuration, the preset it came from, and one record per rung.
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
from tuner.study.attributes import BEYOND, FINAL_OF, PAUSED, PRESET, RESUMED, RUNG, VALUES
from tuner.study.journal_reader import ReadTrial, UnknownRecordError, read_journal
from tuner.study.optuna_private import CHECKED, storage_of, trial_id
from tuner.study.records import RungRecord, TrialRecord
from tuner.study.run_files import STUDY_FILE
from tuner.study.storage import StudyHandle, create_study, damaged, load_study, mend
from tuner.study.validation import check_compared, known_notes, record_of
from tuner.study.versions import warn_if_unchecked

optuna.logging.set_verbosity(optuna.logging.WARNING)
log = logging.getLogger(__name__)

#: Of what a study holds about a run; older ones stay readable (`tests/tuner/golden`).
FORMAT, FORMAT_NOTE = 2, "format"

#: Attribute of a trial: the driver that runs it, where several share a study.
_DRIVER = "driver"
#: Note of a study: when a driver of it was last there, in seconds since 1970.
_SEEN = "seen-{}"
SIGN_EVERY_S, SILENT_S = 30.0, 600.0


class Resumption(NamedTuple):
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
    """

    def __init__(self, kept: StudyHandle, *, goals: Goals):
        self._study, self._storage, self._journal = kept.study, kept.storage, kept.journal
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._goals = goals
        self._driver = kept.driver
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
        """Start the study of a new run in ``folder``, or join one; see `storage.create_study`."""
        warn_if_unchecked("optuna", CHECKED)
        whole = {**(notes or {}), FORMAT_NOTE: FORMAT}
        kept = create_study(folder, goals.directions, url=url, name=name, notes=whole)
        return cls(kept, goals=goals)

    @classmethod
    def open(cls, folder: Path, *, goals: Goals) -> RunStudy:
        """Go on with the study of a run, after mending what a killed driver left."""
        warn_if_unchecked("optuna", CHECKED)
        mend(folder)
        return cls(load_study(folder), goals=goals)

    @classmethod
    def in_memory(cls, *, goals: Goals) -> RunStudy:
        """A study that nothing is left of, for simulations."""
        storage = optuna.storages.InMemoryStorage()
        study = optuna.create_study(storage=storage, directions=goals.directions)
        kept = StudyHandle(study=study, storage=storage)
        return cls(kept, goals=goals)

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
            record_of(trial)
            for trial in self._study.get_trials(deepcopy=False)
            if own is None or own == (trial.user_attrs.get(_DRIVER) == self._driver)
        ]

    @property
    def trials(self) -> Sequence[FrozenTrial]:
        """Every trial as Optuna has it, not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def record(self, number: int) -> TrialRecord:
        """One trial."""
        return record_of(self._frozen(number))

    def unfinished(self) -> dict[int, Resumption]:
        """Trials that this driver left when it was killed, by number."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return {
            t.number: _left(t)
            for t in trials
            if t.number not in self._live and t.user_attrs.get(_DRIVER) == self._driver
        }

    def left(self, number: int) -> Resumption:
        """How a trial stands."""
        return _left(self._frozen(number))

    def sign(self) -> None:
        """Let other drivers know that this one lives, if it is time to; to be called often."""
        if self.shared and time.monotonic() > self._sign_at_s:
            self._sign_at_s = time.monotonic() + SIGN_EVERY_S
            self.note(_SEEN.format(self._driver), time.time())

    def others_running(self) -> int:
        """Trials that other drivers run now, those that wait left out; signs.

        What a driver left behind that has not been heard of for `SILENT_S` runs no more.
        """
        self.sign()
        now_s, notes = time.time(), self.notes
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        drivers = [trial.user_attrs.get(_DRIVER) for trial in running if _left(trial).waits is None]
        return sum(
            driver != self._driver and now_s - notes.get(_SEEN.format(driver), 0.0) < SILENT_S
            for driver in drivers
        )

    @property
    def shared(self) -> bool:
        """Whether other drivers may write to it as well."""
        return self._driver is not None

    def __len__(self) -> int:
        return len(self._study.get_trials(deepcopy=False))

    # --- a trial's life -------------------------------------------------------------------------

    def begin(self) -> int:
        """Create a trial and return its number, which no other driver gets."""
        # A sampler may draw as soon as there is a trial, but only `sampling.Draw` knows its
        # number's seed: drivers that share the study may begin at the same moment.
        self._study.sampler = optuna.samplers.RandomSampler()
        trial = self._study.ask() if self._driver is None else self._own_trial(self._driver)
        self._live[trial.number] = trial
        return trial.number

    def _own_trial(self, driver: str) -> optuna.Trial:
        """A new trial that bears its driver's name from its first moment: nobody mends others'."""
        signed = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={_DRIVER: driver})
        made = storage_of(self._study).create_new_trial(self._study_id, signed)
        return optuna.Trial(self._study, made)

    def revive(self, number: int) -> None:
        """Take up a trial that a killed driver left running."""
        self._study.sampler = optuna.samplers.RandomSampler()
        self._live[number] = optuna.Trial(self._study, trial_id(self._frozen(number)))

    def sampled_by(self, sampler: optuna.samplers.BaseSampler, number: int) -> optuna.Trial:
        """Let a sampler draw the parameters of a trial that has begun, and return the trial."""
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
        """Record what a trial runs."""
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

    def go_on(self, number: int, steps: int) -> None:
        """Record that a trial goes on beyond a rung."""
        self._live[number].set_user_attr(RESUMED, steps)

    def report(self, number: int, steps: int, rung: RungRecord) -> None:
        """Record a rung; reporting the same rung again changes nothing."""
        trial, key = self._live[number], RUNG.format(steps)
        if key in self._frozen(number).user_attrs:
            return
        values = self._values(rung)
        kept = {**vars(rung), "objective": values[0], VALUES: values}
        trial.set_user_attr(key, kept)
        if not self._goals.pareto:  # with several objectives Optuna takes no reports
            trial.report(values[0], steps)

    def remark(self, number: int, note: str) -> None:
        """Add a sentence to what is to be known about a trial."""
        before = self._frozen(number).user_attrs.get("note")
        self._live[number].set_user_attr("note", f"{before}; {note}" if before else note)

    def beyond(self, number: int, excess: Mapping[str, float]) -> None:
        """Record by how much the known costs of a trial break constraints before its first step."""
        self._live[number].set_user_attr(BEYOND, dict(excess))
        for name, over in excess.items():
            self._live[number].set_constraint(name, over)

    def wait(self, number: int, steps: int | None) -> None:
        """Record that a trial waits at a rung, or (None) that it goes on."""
        self._live[number].set_user_attr(PAUSED, steps)

    def finish(
        self, number: int, state: str, reason: str | None = None, *, seconds: float = 0.0
    ) -> None:
        """Close a trial as ``complete``, ``pruned`` or ``failed``; closing it twice is harmless.

        Args:
            number: of the trial.
            state: what it ends as.
            reason: in words.
            seconds: engine time that it took, where no rung says so.
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
            told = TrialState.PRUNED if state == "pruned" else TrialState.FAIL
            self._study.tell(trial, state=told, skip_if_finished=True)

    # --- inside ---------------------------------------------------------------------------------

    def _frozen(self, number: int) -> FrozenTrial:
        """A trial as the study has it; Optuna's `Study` itself can only list them all."""
        find = self._storage.get_trial_id_from_study_id_trial_number
        return self._storage.get_trial(find(self._study_id, number))

    def _values(self, rung: RungRecord) -> list[float]:
        return [float(objective.of(rung.scores)) for objective in self._goals.objectives]


def load_records(folder: Path) -> tuple[list[TrialRecord], Mapping[str, Any]]:
    """Trials and notes of a run, read only.

    Raises:
        RunError: it is no run, a newer one, or its study holds something else than a run's.
        InputError: its database cannot be used.
    """
    try:
        trials, notes = _read(folder)
        if notes.get(FORMAT_NOTE, FORMAT) > FORMAT:
            raise RunError(
                f"{folder}: was written by a newer version (format {notes[FORMAT_NOTE]}, this one"
                f" knows up to {FORMAT}); update nst-tuner"
            )
        records, known = [record_of(trial) for trial in trials], known_notes(notes)
        check_compared(records, known)
        return records, {**notes, **known}
    except NstError:
        raise
    except Exception as error:  # whatever a damaged record leads to
        raise damaged(folder, error) from None


def _read(folder: Path) -> tuple[Sequence[FrozenTrial | ReadTrial], Mapping[str, Any]]:
    if (folder / STUDY_FILE).is_file():
        try:
            return read_journal(folder / STUDY_FILE)
        except UnknownRecordError as error:
            log.debug("%s: %s; read by Optuna", folder, error)
    study = load_study(folder).study
    return study.get_trials(deepcopy=False), study.user_attrs


def _left(trial: FrozenTrial) -> Resumption:
    return Resumption(trial.user_attrs.get(PAUSED), trial.user_attrs.get(RESUMED, 0))
