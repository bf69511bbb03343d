"""A run's journal, read fast by those who only look.

Optuna replays a journal at some 50 µs a record, which is eight seconds for a run of 10,000 trials.
This reads the few kinds of records that a run of ours consists of, ten times as fast. It is no
second opinion: on a record of any other kind it gives up, and Optuna reads the journal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from optuna.distributions import json_to_distribution
from optuna.trial import TrialState

from tuner.study.optuna_private import JournalOperation

_STUDY = int(JournalOperation.CREATE_STUDY)
_NOTE = int(JournalOperation.SET_STUDY_USER_ATTR)
_TRIAL = int(JournalOperation.CREATE_TRIAL)
_PARAM = int(JournalOperation.SET_TRIAL_PARAM)
_STATE = int(JournalOperation.SET_TRIAL_STATE_VALUES)
_ATTR = int(JournalOperation.SET_TRIAL_USER_ATTR)
#: Those of reports and of samplers hold nothing to look at.
_OF_A_TRIAL = frozenset(
    {
        *(_PARAM, _STATE, _ATTR),
        int(JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE),
        int(JournalOperation.SET_TRIAL_SYSTEM_ATTR),
    }
)


class UnknownRecordError(Exception):
    """The journal has something in it that only Optuna can read."""


@dataclass(slots=True)
class ReadTrial:
    """What is asked of an Optuna trial, under the same names."""

    number: int
    state: TrialState = TrialState.RUNNING
    params: dict[str, Any] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)


class _Record(msgspec.Struct, gc=False):  # there are millions, none in a cycle
    """A line: the fields that we read, of all kinds of records."""

    op_code: int
    study_id: int = 0
    trial_id: int = -1
    param_name: str = ""
    param_value_internal: float = 0.0
    distribution: str = ""
    state: int | None = None
    user_attr: dict[str, Any] = {}


def read_journal(path: Path) -> tuple[list[ReadTrial], dict[str, Any]]:
    """Trials by number, and what the study keeps beside them; a half-written last line is left out.

    Raises:
        UnknownRecordError: there are records that this does not know, or none at all.
    """
    content = path.read_bytes()
    try:
        records = msgspec.json.Decoder(_Record).decode_lines(content[: content.rfind(b"\n") + 1])
        return _replayed(records)
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError) as error:
        raise UnknownRecordError(str(error)) from error


def _replayed(records: list[_Record]) -> tuple[list[ReadTrial], dict[str, Any]]:
    trials: list[ReadTrial] = []
    notes: dict[str, Any] = {}
    studies = 0
    drawn = _Drawn()
    for record in records:
        operation = record.op_code
        if operation in _OF_A_TRIAL:
            if not 0 <= record.trial_id < len(trials):
                raise UnknownRecordError("no such trial")
            _update(trials[record.trial_id], record, drawn)
        elif operation == _STUDY and not studies:
            studies = 1
        elif not studies or record.study_id:
            raise UnknownRecordError("not one study")
        elif operation == _TRIAL and record.state is None:
            trials.append(ReadTrial(len(trials)))
        elif operation == _NOTE:
            notes |= record.user_attr
        else:
            raise UnknownRecordError(f"operation {operation}")
    if not studies:
        raise UnknownRecordError("no study")
    return trials, notes


def _update(trial: ReadTrial, record: _Record, drawn: _Drawn) -> None:
    if trial.state is not TrialState.RUNNING:
        return  # Optuna does not change a trial that is over
    if record.op_code == _PARAM:
        trial.params[record.param_name] = drawn.value(record)
    elif record.op_code == _ATTR:
        trial.user_attrs |= record.user_attr
    elif record.op_code == _STATE:
        trial.state = _finished(record.state)


def _finished(state: int | None) -> TrialState:
    if state is None or not TrialState(state).is_finished():
        raise UnknownRecordError(f"state {state}")
    return TrialState(state)


class _Drawn:
    """Parameters as people know them; a journal says them by place in their distribution."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._read: dict[str, Callable[[float], Any]] = {}

    def value(self, record: _Record) -> Any:
        """What was drawn."""
        name, text = record.param_name, record.distribution
        if self._of.setdefault(name, text) != text:
            raise UnknownRecordError(f"several distributions of {name}")  # Optuna may refuse some
        if text not in self._read:
            self._read[text] = json_to_distribution(text).to_external_repr
        return self._read[text](record.param_value_internal)
