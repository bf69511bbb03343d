"""What a run has found, for tables, JSON and exports. No torch and no Ray here."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic import ValidationError

from nst_core.config import StyleConfig
from nst_core.errors import RunError
from nst_core.networks.registry import OWN_WEIGHTS_LICENCE, WEIGHTS_LICENCE
from nst_core.presets.preset import Preset
from tuner.job.objective import COSTS, Goals
from tuner.job.ranking import pareto_front, ranking
from tuner.job.spec import JobSpec
from tuner.job.yaml_file import read_yaml
from tuner.results.trial_result import TrialResult, found_of
from tuner.study.records import EngineStats, Scores, TrialRecord, mean_baselines, values_beside
from tuner.study.run_dir import RunDir
from tuner.study.study import load_records
from tuner.study.validation import check_scores


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
    def pair_baselines(self) -> Sequence[Mapping[str, Scores]]:
        """For each pair, held-out ones last: baseline -> scores. Runs of format 1 have none."""
        scores: Sequence[Mapping[str, Scores]] = self.notes.get("pair_baselines", ())
        return scores

    @cached_property
    def baselines(self) -> Mapping[str, Scores]:
        """Scores of what any result must beat, by the baseline's name: means over the pairs."""
        per_pair = self.pair_baselines[: len(self.job.pairs)]
        return mean_baselines(per_pair) if per_pair else self.notes.get("baselines", {})

    @cached_property
    def held_out_baselines(self) -> Mapping[str, Scores]:
        """The same of the held-out pairs."""
        per_pair = self.pair_baselines[len(self.job.pairs) :]
        return mean_baselines(per_pair) if per_pair else self.notes.get("held_out_baselines", {})

    def ranked(self) -> Sequence[TrialResult]:
        """Every trial that has reported, best first.

        A trial counts with its best report, whether it ran to its end or not: steps are part of the
        configuration, so what looked best after 45 steps is a result with 45 steps. Those that keep
        the bounds come first. Of a single objective, finalists come before others, by the mean of
        their runs with several seeds, which luck has less part in; those of whom a run failed after
        those of whom none did; those that were passed by later trials count as these do. Of
        several, what no report of any trial beats in all comes first, by the first objective.
        """
        return self._ranking

    @cached_property
    def finals(self) -> Mapping[int, Sequence[TrialRecord]]:
        """The runs of each finalist, by its number; presets that ran in full are not among them."""
        finals: dict[int, list[TrialRecord]] = {}
        for record in self.records:
            if record.final_of is not None and not record.full:
                finals.setdefault(record.final_of, []).append(record)
        return finals

    @cached_property
    def _ranking(self) -> Sequence[TrialResult]:
        found = []
        for record in self.records:
            best = record.best_rung(self.goals)
            if best is not None and record.state != "failed" and record.final_of is None:
                found.append(found_of(record, best, self.finals.get(record.trial, [])))
        keyed = zip(self._places(found), found, strict=True)
        ranked = sorted(keyed, key=lambda x: (x[0], x[1].steps, x[1].record.trial))
        return [one for _, one in ranked]

    def _places(self, found: Sequence[TrialResult]) -> list[tuple[float, ...]]:
        """By what each is ranked: what it breaks first."""
        values = [
            (self.goals.values(self.scores(one))[0], *self.goals.values(one.rung.scores)[1:])
            for one in found
        ]
        if self.goals.pareto:
            beside = values_beside(((one.record, one.steps) for one in found), self.goals)
            ranks = [key[1] for key in ranking(values, beside)]
            return [
                (violation, rank, one.failed, *losses)
                for one, rank, (violation, *losses) in zip(found, ranks, values, strict=True)
            ]
        keyed = zip(values, found, strict=True)
        first = sorted(keyed, key=lambda x: (x[0], x[1].steps, x[1].record.trial))
        best = {one.record.trial for _, one in first[: self.job.finals.count] if one.finals}
        loss_of = self.goals.first.loss
        return [
            (broken, 0, one.failed, loss_of(self.score(one)))
            if one.record.trial in best
            else (broken, 1, one.failed, loss)
            for one, (broken, loss) in zip(found, values, strict=True)
        ]

    @cached_property
    def goals(self) -> Goals:
        """What the run optimises."""
        return self.job.goals

    def score(self, found: TrialResult) -> float:
        """The objective of a trial: the mean of its finals, or of its best report."""
        return mean(found.final_scores) if found.finals else found.rung.objective

    def violated(self, found: TrialResult) -> list[str]:
        """The bounds that a trial breaks, as people write them."""
        return self.goals.violated(self.scores(found))

    def scores(self, found: TrialResult) -> Scores:
        """By what a trial is held to the bounds: the means of its finals, or its best report.

        Costs are always those of the search: a final may score held-out pairs as well.
        """
        finals, here = list(found.finals.values()), found.rung.scores
        return {
            name: value if name in COSTS or not finals else mean(f.scores[name] for f in finals)
            for name, value in here.items()
        }

    def front(self) -> list[TrialResult]:
        """Of several objectives, the results that no other is better than in all of them.

        A trial may stand there several times: after fewer steps it is worse, and costs less.
        """
        found = [one.at(steps) for one in self.ranked() for steps in one.record.rungs]
        points = [self.goals.values(one.rung.scores) for one in found]
        chosen = [found[index] for index in pareto_front(points)]
        return sorted(chosen, key=lambda f: self.goals.first.loss(f.rung.objective))

    def held_out(self, found: TrialResult) -> float | None:
        """The objective of a finalist on the pairs that the search never saw."""
        return found.held_out(self.goals.first, len(self.job.pairs))

    def better_held_out(self) -> TrialResult | None:
        """The finalist that does best on the held-out pairs, if that is not the best of all."""
        ranked = self.ranked()
        own = self.held_out(ranked[0]) if ranked else None
        if own is None:
            return None
        known = [(self.held_out(found), found) for found in ranked[1:] if not self.violated(found)]
        loss = self.goals.first.loss
        better = [(value, one) for value, one in known if value is not None]
        value, found = min(better, key=lambda pair: loss(pair[0]), default=(own, None))
        return found if self.goals.first.better(value, own) else None

    def best_preset(self) -> TrialResult | None:
        """The best of the baseline presets."""
        return next((found for found in self.ranked() if found.record.preset), None)

    def gain(self, score: float) -> float:
        """By which share ``score`` is better than the untouched content's: 0.3 is 30 % better."""
        first, content = self.goals.first, self.baselines.get("content", {})
        if not first.known(content):
            return math.nan  # costs, of which there are none: no image was made
        return self.change(score, first.of(content))

    def change(self, score: float, base: float) -> float:
        """By which share ``score`` is better than ``base``; below 0 where it is worse.

        NaN where there are no shares: by a sum in which measures count with their sign turned,
        nothing is half as bad.
        """
        if self.goals.first.has_turned:
            return math.nan
        change = (score - base) / abs(base) if base else math.nan
        return change if self.goals.first.higher_is_better else -change

    def beats_content(self, score: float) -> bool | None:
        """Whether ``score`` is better than that of the untouched content.

        None where that is unknown: an objective with a cost says nothing of a picture that was not
        made.
        """
        first, content = self.goals.first, self.baselines.get("content", {})
        if not first.known(content):
            return None
        return first.better(score, first.of(content))

    def against(self, score: float, base: float) -> str:
        """``30% better`` or ``5% worse`` than ``base``; the word alone where there is no share."""
        change = self.change(score, base)
        word = "worse" if self.goals.first.better(base, score) else "better"
        return word if math.isnan(change) else f"{abs(change):.0%} {word}"

    @property
    def engines(self) -> Sequence[EngineStats]:
        """What engines did with their time, one for each engine of each launch that ended."""
        return [EngineStats(**stats) for stats in self.notes.get("engines", [])]

    @property
    def hardware(self) -> Sequence[str]:
        """What the engines computed on, each once; known when a launch has ended."""
        return list(dict.fromkeys(stats.device for stats in self.engines if stats.device))

    def counts(self) -> dict[str, int]:
        """Trials by state, finals apart."""
        counted = Counter(r.state for r in self.records if r.final_of is None)
        return {state: counted[state] for state in ("complete", "pruned", "failed", "running")}

    @property
    def done(self) -> int:
        """Number of trials that are over, finals apart."""
        counts = self.counts()
        return counts["complete"] + counts["pruned"] + counts["failed"]

    @property
    def over(self) -> bool:
        """Whether the run has come to its end, rather than running on or having been broken off."""
        return self.notes.get("over") is not None

    def images(self, trial: int, steps: int | None = None) -> list[str]:
        """A trial's images, relative to the run, one per pair.

        Args:
            trial: its number.
            steps: after how many steps; its best result's if None. Others are kept in Pareto runs.
        """
        pairs = range(len(self.job.pairs))
        if steps is None or steps == self.found(trial).steps:
            return [self.run.image(trial, pair) for pair in pairs]
        return [self.run.frame(trial, steps, pair) for pair in pairs]

    def found(self, trial: int | None = None, steps: int | None = None) -> TrialResult:
        """The best, or what ``trial`` reached, at its best or after ``steps``.

        Raises:
            RunError: there is no such trial, or it has reported nothing then.
        """
        ranked = self.ranked()
        if trial is None and ranked:
            chosen = ranked[0]
        elif trial is not None and (ours := [f for f in ranked if f.record.trial == trial]):
            chosen = ours[0]
        else:
            raise RunError(f"{self.run.path}: {self._why_no_result(trial)}")
        if steps is None:
            return chosen
        if steps not in (known_steps := chosen.record.rungs):
            raise RunError(
                f"{self.run.path}: trial {chosen.record.trial} reported no score after {steps}"
                f" steps (it did after {', '.join(map(str, known_steps))})"
            )
        return chosen.at(steps)

    def _why_no_result(self, trial: int | None) -> str:
        """Why there is no such trial, or none of whom a result is known, and which there are."""
        best = ", ".join(str(found.record.trial) for found in self.ranked()[:8])
        known = f"; trials with a result, the best first: {best}" if best else ""
        if trial is None:
            return "no trial has reported a score yet"
        records = {record.trial: record for record in self.records}
        if trial not in records:
            last = max((r.trial for r in self.records if r.final_of is None), default=None)
            has = "no trials yet" if last is None else f"trials 0 to {last}" if last else "trial 0"
            return f"no trial {trial}; this run has {has}"
        record = records[trial]
        if record.final_of is not None:
            return f"trial {trial} is a final of trial {record.final_of}; name that trial"
        if record.state == "failed":
            return f"trial {trial} failed and has no result ({record.reason}){known}"
        return f"trial {trial} has not reported a score yet{known}"

    def preset(self, trial: int | None = None, steps: int | None = None) -> Preset:
        """The best configuration, or that of ``trial``, with its provenance.

        Args:
            trial: its number.
            steps: after how many steps; those of its best report if None.

        Raises:
            RunError: there is no such trial, or it has reported nothing then.
        """
        found = self.found(trial, steps)
        score, broken = self.score(found), self.violated(found)
        weights = self._own_weights(found.config["extractor"])
        breaks = f", breaks {' and '.join(broken)}" if broken else ""
        return Preset(
            name=f"{self.job.name}-{found.record.trial}",
            description=f"tuned: {self.goals.first.name} {score:.4f}{breaks}",
            config=StyleConfig.from_dict(found.config, source=f"trial {found.record.trial}"),
            provenance={
                "kind": "tuned",
                "run": self.job.name,
                "trial": found.record.trial,
                "preset": found.record.preset,
                "objective": self.goals.name,
                "score": score,
                "broken": broken,
                "finals": found.final_scores,
                "finals_failed": found.failed,
                "spread": found.spread,
                "held_out": self.held_out(found),
                "scores": dict(found.rung.scores),
                "baselines": self.baselines,
                "pairs": len(self.job.pairs),
                "inputs": self.job.pairs[0].model_dump(
                    mode="json", by_alias=True, exclude_none=True
                ),
                "seconds": found.rung.seconds,
                "worker": found.rung.worker,
                "search": self.job.search.model_dump(mode="json", exclude={"replay"}),
                "environment": self.notes.get("environment", {}),
                "hardware": self.hardware,
                "weights": weights,
                "licence": f"weights: {OWN_WEIGHTS_LICENCE if weights else WEIGHTS_LICENCE}",
            },
        )

    def _own_weights(self, network: str) -> dict[str, dict[str, str | None]]:
        """The file that the job names for a network, if it does, and the digest of its weights.

        The digest is that of the run's beginning; runs of older versions have none.
        """
        if network not in self.job.weights:
            return {}
        file = os.path.normpath(self.run.path / self.job.weights[network])
        return {network: {"file": file, "digest": self.notes.get("weights", {}).get(network)}}


def load_results(folder: Path) -> Results:
    """Read a run directory.

    Raises:
        RunError: it is none, it is damaged, or its job is not the one that it was started with.
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
    check_scores(run.path, job.goals.measures, records)
    return Results(run=run, job=job, records=records, notes=notes)
