"""What a study holds about a run, checked: somebody else may have written it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from optuna.trial import FrozenTrial, TrialState

from nst_core.errors import RunError
from tuner.job.objective import COSTS
from tuner.study.attributes import RUNG, reported
from tuner.study.journal_reader import ReadTrial
from tuner.study.records import EngineStats, RungRecord, TrialRecord

#: What people call Optuna's states.
STATES: Mapping[TrialState, str] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


class _Vote(msgspec.Struct):
    """As `prefer.votes.Vote`."""

    better: int
    worse: int
    pair: int = 0


class _Notes(msgspec.Struct, omit_defaults=True):
    """Notes of a study that are read; others may be there."""

    engines: list[EngineStats] = []
    votes: list[_Vote] = []
    pair_baselines: list[dict[str, dict[str, float]]] = []
    baselines: dict[str, dict[str, float]] = {}
    held_out_baselines: dict[str, dict[str, float]] = {}
    presets: list[str] = []
    starts: list[dict[str, Any]] = []
    environment: dict[str, Any] = {}
    weights: dict[str, str] = {}
    over: str | None = None
    lengths: dict[str, float] = {}
    worked_s: float = 0.0
    improved_after: int = 0


class _Attributes(msgspec.Struct):
    """Attributes of a trial that are read."""

    config: dict[str, Any] = {}
    preset: str | None = None
    final_of: int | None = None
    full: bool = False
    note: str | None = None
    reason: str | None = None
    seconds: float = 0.0


def known_notes(notes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The notes that are read, checked.

    Raises:
        ValueError: one is of another shape.
    """
    known = msgspec.convert(notes, _Notes)
    measured = [{name: set(scores) for name, scores in p.items()} for p in known.pair_baselines]
    if any(names != measured[0] or "content" not in names for names in measured):
        raise ValueError("pairs have other baselines than each other, or none of the content")
    found: Mapping[str, Any] = msgspec.to_builtins(known)
    return found


def check_compared(records: Sequence[TrialRecord], notes: Mapping[str, Any]) -> None:
    """Raise ValueError if trials have reported, and what doing nothing scores is not known."""
    pairs = notes.get("pair_baselines") or [notes.get("baselines", {})]
    if "content" not in pairs[0] and any(record.rungs for record in records):
        raise ValueError("trials have reported, and there is no baseline of the content")


def _rung(stored: Any) -> RungRecord:
    rung = msgspec.convert(stored, RungRecord)
    return replace(rung, pair_scores=tuple(rung.pair_scores))


def record_of(trial: FrozenTrial | ReadTrial) -> TrialRecord:
    """A trial, checked.

    Raises:
        ValueError: it holds something else than a trial of ours.
    """
    attrs = trial.user_attrs
    known = msgspec.convert(attrs, _Attributes)
    rungs = {steps: _rung(attrs[RUNG.format(steps)]) for steps in sorted(reported(attrs))}
    state = STATES[trial.state]
    if state == "complete":
        if not rungs:
            raise ValueError(f"trial {trial.number} is complete without a report")
        if known.final_of is not None and not isinstance(known.config.get("seed"), int):
            raise ValueError(f"trial {trial.number} is a final without a seed")
    return TrialRecord(
        trial=trial.number,
        state=state,
        params=trial.params,
        config=known.config,
        preset=known.preset,
        final_of=known.final_of,
        full=known.full,
        note=known.note,
        rungs=rungs,
        reason=known.reason,
        failed_s=known.seconds,
    )


def check_scores(run: Path, wanted: set[str], records: Sequence[TrialRecord]) -> None:
    """Raise RunError unless every report has what is asked for, and finals the same pairs."""
    pairs_of_finals: set[int] = set()
    for record in records:
        for steps, rung in record.rungs.items():
            of_pairs = [wanted.difference(scores, COSTS) for scores in rung.pair_scores]
            if record.final_of is not None:
                pairs_of_finals.add(len(rung.pair_scores))
            if missing := wanted.difference(rung.scores).union(*of_pairs):
                raise RunError(
                    f"{run}: trial {record.trial} has no {', '.join(sorted(missing))} at step"
                    f" {steps}, which its job asks for; the job must stay as the run wrote it"
                )
    if len(pairs_of_finals) > 1:
        raise RunError(f"{run}: its finals have scores of different numbers of pairs")
