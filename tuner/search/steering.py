"""Steering: carries out the commands of people in a running search (`nst-tuner ctl`).

The study records every command with its effect, so all state follows from the study: whether the
run is paused, which trials are to stop, and which configurations were asked for.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection

from nst_core.errors import ConfigError, near_miss
from search_spaces import Params, Space
from tuner.job.load import load_job
from tuner.job.spec import JobSpec
from tuner.sampling.neighbors import near
from tuner.search.budget import Budget
from tuner.study.commands import (
    COMMANDS,
    Command,
    CommandRecord,
    delete,
    is_paused,
    plain,
    received,
    stored_commands,
)
from tuner.study.records import TrialRecord
from tuner.study.run_dir import RunDir
from tuner.study.study import RunStudy

log = logging.getLogger(__name__)

#: Keys of the job that `set` may change while the run is running.
LIVE_KEYS = (
    "search.trials",
    *(f"budget.{name}" for name in ("minutes", "engine_seconds", "patience", "target")),
)
#: Reason of a trial that `stop-trial` ended.
STOPPED = "stopped by `nst-tuner ctl`"
#: Largest number of trials that one `more-like` may ask for.
MOST_ALIKE = 1000


class Steering:
    """The commands of one run.

    Args:
        study: the run's study.
        run: the run directory, with the mailbox.
        job: the job.
        space: the search space.
        budget: its clock stands still while the run is paused.

    Attributes:
        job: the job, with the changes of `set`.
        paused: whether no trial may start or continue.
        stops: numbers of the trials that are to end at their next report.
    """

    def __init__(self, study: RunStudy, run: RunDir, job: JobSpec, space: Space, budget: Budget):
        self._study, self._run, self._space, self._budget = study, run, space, budget
        self.job = job
        self._records = stored_commands(study.notes)
        self.paused = is_paused(self._records)
        done = [record.command for record in self._records if not record.refused]
        self.stops = {c.trial for c in done if c.name == "stop-trial" and c.trial is not None}
        #: Trial -> id of the command that asked for it.
        self._asked: dict[int, str] = {}
        budget.stand_still(self.paused)

    def add_trial(self, record: TrialRecord) -> None:
        """Add a trial of an earlier launch."""
        if record.asked_by is not None:
            self._asked[record.trial] = record.asked_by

    # --- configurations that people asked for ---------------------------------------------------

    def begin(self, number: int) -> bool:
        """Record which command asked for a trial that has just begun; return whether one did."""
        begun = Counter(self._asked.values())
        for record in self._records:
            if not record.refused and begun[record.id] < record.command.trials:
                self._asked[number] = record.id
                self._study.asked_by(number, record.id)
                return True
        return False

    def command_of(self, number: int) -> Command | None:
        """Return the command that asked for a trial; None if none did."""
        return next((r.command for r in self._records if r.id == self._asked.get(number)), None)

    def point(self, number: int) -> Params | None:
        """Return the parameters that a command asks of a trial; None if none asked for it."""
        command = self.command_of(number)
        if command is None:
            return None
        if command.name == "try":
            return self._space.completed(command.params)
        assert command.trial is not None
        seed = (self.job.search.seed, number)
        return near(self._space, self._study.record(command.trial).params, seed)

    # --- commands ---------------------------------------------------------------------------------

    def new_commands(self) -> list[tuple[str, Command | None]]:
        """Return (id, command) of the mailbox, without those that the study records already."""
        if not (mail := received(self._run.path)):
            return []
        known = {record.id for record in self._records}
        for command_id, _ in mail:
            if command_id in known:
                self.forget(command_id)
        return [item for item in mail if item[0] not in known]

    def forget(self, command_id: str) -> None:
        """Delete a command that the study records from the mailbox."""
        delete(self._run.path, command_id)

    def carry_out(
        self, command_id: str, command: Command | None, unfinished: Collection[int], left: int
    ) -> CommandRecord | None:
        """Carry out and record a command, or record why it was refused; None if it is unreadable.

        Args:
            command_id: identifies the command.
            command: the command; None if its file cannot be read.
            unfinished: numbers of the trials that have not ended.
            left: number of trials that the search has still to begin.
        """
        if command is None:
            log.warning("%s: a command that cannot be read was ignored", self._run.path)
            return None
        refused = self._refusal(command, unfinished, left)
        if not refused and command.name == "set":
            refused = self._change_job(command.changes)
        if not refused and command.name in ("pause", "resume"):
            self.paused = command.name == "pause"
            self._budget.stand_still(self.paused)
        if not refused and command.name == "stop-trial" and command.trial is not None:
            self.stops.add(command.trial)
        return self._record(command_id, command, refused)

    def refuse_all(self, reason: str) -> None:
        """Record all new commands as refused."""
        for command_id, command in self.new_commands():
            if command is not None:
                self._record(command_id, command, reason)
            self.forget(command_id)

    def _record(self, command_id: str, command: Command, refused: str | None) -> CommandRecord:
        record = CommandRecord(id=command_id, command=command, at=time.time(), refused=refused)
        self._records.append(record)
        self._study.note(COMMANDS, plain(self._records))
        log.info("command: %s", record)
        return record

    def _refusal(self, command: Command, unfinished: Collection[int], left: int) -> str | None:
        """Return why a command cannot be carried out now; None if it can."""
        checks: dict[str, Callable[[], str | None]] = {
            "pause": lambda: "the run is paused already" if self.paused else None,
            "resume": lambda: None if self.paused else "the run is not paused",
            "stop-trial": lambda: self._cannot_stop(command.trial, unfinished),
            "try": lambda: self._cannot_try(command.params) or self._no_room(1, left),
            "more-like": lambda: self._cannot_resemble(command) or self._no_room(1, left),
        }
        return checks.get(command.name, lambda: None)()

    def _cannot_stop(self, trial: int | None, unfinished: Collection[int]) -> str | None:
        if trial in unfinished:
            return None
        return self._no_such(trial) or f"trial {trial} has ended already"

    def _no_such(self, trial: int | None) -> str | None:
        if trial is not None and 0 <= trial < len(self._study):
            return None
        last = f"the last one is {len(self._study) - 1}" if len(self._study) else "none has begun"
        return f"there is no trial {trial}; {last}"

    def _cannot_try(self, params: Params) -> str | None:
        if not params:
            return "no parameter was given; expected KEY=VALUE"
        return "; ".join(self._space.point_problems(params)) or None

    def _cannot_resemble(self, command: Command) -> str | None:
        trial = command.trial
        if trial is None or (problem := self._no_such(trial)):
            return problem
        record = self._study.record(trial)
        if not record.searched or not record.params:
            other = f"; it repeats trial {record.final_of}" if record.final_of is not None else ""
            return f"trial {trial} is no trial of the search, but a preset or a final{other}"
        if not 1 <= command.count <= MOST_ALIKE:
            return f"expected 1 to {MOST_ALIKE} trials, got {command.count}"
        return None

    def _no_room(self, wanted: int, left: int) -> str | None:
        begun = Counter(self._asked.values())
        waiting = sum(
            record.command.trials - begun[record.id]
            for record in self._records
            if not record.refused
        )
        if left - waiting >= wanted:
            return None
        return (
            f"no trial is left for it: the {self.job.search.trials} of the job have begun or are"
            f" asked for; more of them: set search.trials={self.job.search.trials + wanted}"
        )

    def _change_job(self, changes: list[str]) -> str | None:
        """Change the job and its file; return why not, or None."""
        keys = [change.partition("=")[0].strip() for change in changes]
        for key in keys:
            if key not in LIVE_KEYS:
                hint = near_miss(key, LIVE_KEYS)
                return f"`{key}` cannot change while the run is running{hint}; keys that can: " + (
                    ", ".join(LIVE_KEYS)
                )
        if not changes:
            return "no change was given; expected KEY=VALUE"
        if "search.trials" in keys and self.job.search.replay:
            return "`search.trials` cannot change while the run replays another one"
        try:
            changed, _ = load_job(self._run.job_file, changes)
            self._run.change_job(changes)
        except ConfigError as error:
            return "; ".join(error.problems)
        search = self.job.search.model_copy(update={"trials": changed.search.trials})
        self.job = self.job.model_copy(update={"search": search, "budget": changed.budget})
        self._budget.limits = changed.budget
        return None
