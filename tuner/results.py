"""What a run has found, for tables, JSON and exports. No torch and no Ray here."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic import ValidationError

from nst_core.config import StyleConfig
from nst_core.errors import RunError
from nst_core.presets import Preset
from tuner.job import JobSpec
from tuner.objective import Goals, Objective, non_dominated
from tuner.records import EngineStats, RungRecord, TrialRecord
from tuner.rundir import RunDir
from tuner.study import load_records
from tuner.yamlfile import read_yaml


@dataclass(frozen=True, kw_only=True)
class Found:
    """A trial's best: the configuration with the steps at which it was reached.

    Attributes:
        finals: what the same configuration reached when it was run again, by seed.
    """

    record: TrialRecord
    steps: int
    rung: RungRecord
    finals: Mapping[int, RungRecord] = field(default_factory=dict)

    @property
    def seeds(self) -> list[float]:
        """The objective of each run again."""
        return [rung.objective for rung in self.finals.values()]

    def held_out(self, objective: Objective, pairs: int) -> float | None:
        """The objective on the held-out pairs, which come after the ``pairs`` of the search."""
        scores = [s for rung in self.finals.values() for s in rung.pair_scores[pairs:]]
        return mean(objective.of(s) for s in scores) if scores else None

    @property
    def config(self) -> dict[str, Any]:
        """Settings that reproduce this very image."""
        return StyleConfig.from_dict(self.record.config).stopped_at(self.steps).to_dict()


@dataclass(frozen=True, kw_only=True)
class Results:
    """A run as read from its directory.

    Attributes:
        run: the directory.
        job: what was asked for.
        records: every trial, by number.
        notes: what the run keeps beside its trials: baselines, environment ….
    """

    run: RunDir
    job: JobSpec
    records: list[TrialRecord]
    notes: Mapping[str, Any]

    @property
    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """Scores of what any result must beat, by the baseline's name."""
        scores: Mapping[str, Mapping[str, float]] = self.notes.get("baselines", {})
        return scores

    def ranked(self) -> list[Found]:
        """Every trial that has reported, best first.

        A trial counts with its best report, whether it ran to its end or not: steps are part of the
        configuration, so what looked best after 45 steps is a result with 45 steps. Finalists come
        first, by the mean of their runs with several seeds, which luck has less part in.
        """
        goals, finals = self.goals, self._finals()
        found = []
        for record in self.records:
            best = record.best_rung(goals)
            if best is not None and record.state != "failed" and record.final_of is None:
                again = finals.get(record.trial, {})
                found.append(Found(record=record, steps=best[0], rung=best[1], finals=again))
        keys = goals.order([goals.values(f.rung.scores) for f in found])
        ranked = sorted(
            zip(found, keys, strict=True), key=lambda x: (x[1], x[0].steps, x[0].record.trial)
        )
        finalists = [f for f, _ in ranked if f.finals]
        if not goals.pareto:
            finalists.sort(key=lambda f: goals.first.loss(mean(f.seeds)))
        return finalists + [f for f, _ in ranked if not f.finals]

    def _finals(self) -> dict[int, dict[int, RungRecord]]:
        """Finalist -> seed -> what it reached."""
        finals: dict[int, dict[int, RungRecord]] = {}
        for record in self.records:
            if record.final_of is not None and record.state == "complete":
                (rung,) = record.rungs.values()
                finals.setdefault(record.final_of, {})[record.config["seed"]] = rung
        return finals

    @cached_property
    def goals(self) -> Goals:
        """What the run optimises."""
        return self.job.goals

    def score(self, found: Found) -> float:
        """The objective of a trial: the mean of its finals, or of its best report."""
        return mean(found.seeds) if found.seeds else found.rung.objective

    def front(self) -> list[Found]:
        """Of several objectives, the trials that no other is better than in all of them."""
        ranked = self.ranked()
        points = [self.goals.values(found.rung.scores) for found in ranked]
        if any(not broken for broken, *_ in points):  # what breaks a bound is no choice then
            ranked = [f for f, (broken, *_) in zip(ranked, points, strict=True) if not broken]
            points = [point for point in points if not point[0]]
        ranks, _ = non_dominated(points) if points else ([], [])
        chosen = [found for found, rank in zip(ranked, ranks, strict=True) if rank == 0]
        return sorted(chosen, key=lambda f: self.goals.first.loss(f.rung.objective))

    def held_out(self, found: Found) -> float | None:
        """The objective of a finalist on the pairs that the search never saw."""
        return found.held_out(self.goals.first, len(self.job.pairs))

    def best_preset(self) -> Found | None:
        """The best of the baseline presets."""
        return next((found for found in self.ranked() if found.record.preset), None)

    def gain(self, score: float, against: str = "content") -> float:
        """By which share ``score`` is better than a baseline's: 0.3 is 30 % better."""
        first = self.goals.first
        if not first.known(self.baselines[against]):
            return math.nan  # costs: no image was made
        base = first.of(self.baselines[against])
        change = (score - base) / abs(base) if base else math.nan
        return change if first.higher_is_better else -change

    def beats_content(self, score: float) -> bool:
        """Whether ``score`` is better than that of the untouched content."""
        return self.gain(score) > 0

    @property
    def engines(self) -> Sequence[EngineStats]:
        """What engines did with their time, one for each engine of each launch that ended."""
        return [EngineStats(**stats) for stats in self.notes.get("engines", [])]

    def counts(self) -> dict[str, int]:
        """Trials by state, finals apart."""
        counted = Counter(r.state for r in self.records if r.final_of is None)
        return {state: counted[state] for state in ("complete", "pruned", "failed", "running")}

    def best_json(self, top: int | None = None) -> dict[str, Any]:
        """What `nst-tuner best --json` prints."""
        ranked = self.ranked()
        reported = {found.record.trial for found in ranked}
        rest = [r for r in self.records if r.trial not in reported and r.final_of is None]
        trials = [self._trial_json(f.record, f) for f in ranked]
        trials += [self._trial_json(record, None) for record in rest]
        return {
            "run": self.job.name,
            "objective": self.goals.name,
            "direction": "maximize" if self.goals.first.higher_is_better else "minimize",
            "beats_content": bool(ranked) and self.beats_content(ranked[0].rung.objective),
            "baselines": self.baselines,
            "trials": trials[:top],
        }

    def _trial_json(self, record: TrialRecord, found: Found | None) -> dict[str, Any]:
        return {
            "trial": record.trial,
            "state": record.state,
            "objective": self.score(found) if found else None,
            "finals": found.seeds if found else [],
            "held_out": self.held_out(found) if found else None,
            "scores": dict(found.rung.scores) if found else {},
            "config": found.config if found else dict(record.config),
            "steps": found.steps if found else 0,
            "seconds": found.rung.seconds if found else record.seconds,
            "preset": record.preset,
            "image": self.run.image(record.trial, 0) if found else None,
            "images": self.images(record.trial) if found else [],
            "note": record.note,
            "reason": record.reason,
        }

    def images(self, trial: int) -> list[str]:
        """A trial's images, relative to the run, one per pair."""
        return [self.run.image(trial, pair) for pair in range(len(self.job.pairs))]

    def status_json(self) -> dict[str, Any]:
        """What `nst-tuner status --json` prints."""
        ranked = self.ranked()
        counts = self.counts()
        done = counts["complete"] + counts["pruned"] + counts["failed"]
        best = self._trial_json(ranked[0].record, ranked[0]) if ranked else None
        return {
            "run": self.job.name,
            "target": self.job.search.trials,
            "done": done,
            "states": counts,
            "objective": self.goals.name,
            "best": best,
            "beats_content": bool(ranked) and self.beats_content(ranked[0].rung.objective),
            "engines": [asdict(stats) for stats in self.engines],
            "finals": sum(len(found.finals) for found in ranked),
            "ended_because": self.notes.get("over"),
            "finished": self.notes.get("over") is not None,
        }

    def preset(self, trial: int | None = None) -> Preset:
        """The best configuration, or that of ``trial``, with its provenance.

        Raises:
            RunError: there is no such trial, or it has reported nothing.
        """
        ranked = self.ranked()
        chosen = [f for f in ranked if trial is None or f.record.trial == trial]
        if not chosen:
            known = ", ".join(str(f.record.trial) for f in ranked[:8])
            wanted = "no trial" if trial is None else f"trial {trial} has not"
            raise RunError(
                f"{self.run.path}: {wanted} reported a score yet; nothing to export"
                + (f" (best first, there are {known})" if known else "")
            )
        found = chosen[0]
        return Preset(
            name=f"{self.job.name}-{found.record.trial}",
            description=f"tuned: {self.goals.first.name} {found.rung.objective:.4f}",
            config=StyleConfig.from_dict(found.config, source=f"trial {found.record.trial}"),
            provenance={
                "kind": "tuned",
                "run": self.job.name,
                "trial": found.record.trial,
                "preset": found.record.preset,
                "objective": self.goals.name,
                "score": self.score(found),
                "finals": found.seeds,
                "held_out": self.held_out(found),
                "scores": dict(found.rung.scores),
                "baselines": self.baselines,
                "pairs": len(self.job.pairs),
                "seconds": found.rung.seconds,
                "worker": found.rung.worker,
                "search": self.job.search.model_dump(mode="json", exclude={"replay"}),
                "environment": self.notes.get("environment", {}),
            },
        )


def load_results(folder: Path) -> Results:
    """Read a run directory.

    Raises:
        RunError: it is none, or its job file is damaged.
    """
    run = RunDir(folder).require()
    try:
        job = JobSpec.model_validate(read_yaml(run.job_file).data)
    except ValidationError as error:
        raise RunError(
            f"{run.job_file}: no longer a valid job ({len(error.errors())} problems); it must stay"
            " as the run wrote it"
        ) from None
    records, notes = load_records(folder)
    return Results(run=run, job=job, records=records, notes=notes)


def dump(content: Mapping[str, Any]) -> str:
    """JSON for standard output; never NaN, which is no JSON."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
