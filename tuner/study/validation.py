"""Validation of what a study stores about a run, since somebody else may have written it."""

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
from tuner.study.commands import CommandRecord
from tuner.study.journal_reader import ReadTrial
from tuner.study.records import EngineStats, RungRecord, TrialRecord

#: State of Optuna -> state of a `TrialRecord`.
STATES: Mapping[TrialState, str] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


class _Vote(msgspec.Struct):
    """A stored `pages.prefer.votes.Vote`."""

    better: int
    worse: int
    pair: int = 0


class _Notes(msgspec.Struct, omit_defaults=True):
    """The notes of a study that are read; there may be others."""

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
    commands: list[CommandRecord] = []


class _Attributes(msgspec.Struct):
    """The attributes of a trial that are read."""

    config: dict[str, Any] = {}
    preset: str | None = None
    final_of: int | None = None
    full: bool = False
    asked_by: str | None = None
    note: str | None = None
    reason: str | None = None
    seconds: float = 0.0


def checked_notes(notes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the notes that are read, after checking them.

    Raises:
        ValueError: a note has an unexpected type or value.
    """
    stored = msgspec.convert(notes, _Notes)
    baselines = [{name: set(scores) for name, scores in p.items()} for p in stored.pair_baselines]
    if any(names != baselines[0] or "content" not in names for names in baselines):
        raise ValueError("not all pairs have the same baselines, with the content among them")
    checked: Mapping[str, Any] = msgspec.to_builtins(stored)
    return checked


def check_compared(records: Sequence[TrialRecord], notes: Mapping[str, Any]) -> None:
    """Raise ValueError if trials have reported and the scores of the content are missing."""
    pairs = notes.get("pair_baselines") or [notes.get("baselines", {})]
    if "content" not in pairs[0] and any(record.rungs for record in records):
        raise ValueError("trials have reported, but the baseline of the content is missing")


def _rung(stored: Any) -> RungRecord:
    rung = msgspec.convert(stored, RungRecord)
    return replace(rung, pair_scores=tuple(rung.pair_scores))


def record_of(trial: FrozenTrial | ReadTrial) -> TrialRecord:
    """Return a trial as a record, after checking it.

    Raises:
        ValueError: an attribute of the trial has an unexpected type or value.
    """
    attrs = trial.user_attrs
    stored = msgspec.convert(attrs, _Attributes)
    rungs = {steps: _rung(attrs[RUNG.format(steps)]) for steps in sorted(reported(attrs))}
    state = STATES[trial.state]
    if state == "complete":
        if not rungs:
            raise ValueError(f"trial {trial.number} is complete without a report")
        if stored.final_of is not None and not isinstance(stored.config.get("seed"), int):
            raise ValueError(f"trial {trial.number} is a final without a seed")
    return TrialRecord(
        trial=trial.number,
        state=state,
        params=trial.params,
        config=stored.config,
        preset=stored.preset,
        final_of=stored.final_of,
        full=stored.full,
        asked_by=stored.asked_by,
        note=stored.note,
        rungs=rungs,
        reason=stored.reason,
        failed_s=stored.seconds,
    )


def check_scores(run: Path, wanted: set[str], records: Sequence[TrialRecord]) -> None:
    """Raise RunError if a report lacks a measure, or finals were scored on different pairs.

    Args:
        run: the run directory, for the error.
        wanted: the measures of the job's goals.
        records: all trials.
    """
    pair_counts: set[int] = set()
    for record in records:
        for steps, rung in record.rungs.items():
            of_pairs = [wanted.difference(scores, COSTS) for scores in rung.pair_scores]
            if record.final_of is not None:
                pair_counts.add(len(rung.pair_scores))
            if missing := wanted.difference(rung.scores).union(*of_pairs):
                raise RunError(
                    f"{run}: trial {record.trial} has no {', '.join(sorted(missing))} at step"
                    f" {steps}, but the job needs it; restore job.yaml as the run wrote it"
                )
    if len(pair_counts) > 1:
        raise RunError(
            f"{run}: the finals were scored on different numbers of pairs; restore the study from a"
            " copy, or start a new run"
        )
