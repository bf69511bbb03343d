"""Results: everything that is known about a run, without loading torch or Ray."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from pydantic import ValidationError

from nst_core.errors import RunError
from nst_core.presets.preset import Preset, StylizerPreset
from tuner.job.objective import COSTS, Goals
from tuner.job.ranking import pareto_front, ranking
from tuner.job.spec import JobSpec
from tuner.job.yaml_file import read_yaml
from tuner.results.trial_result import TrialResult
from tuner.results.tuned_preset import tuned_preset
from tuner.study.commands import CommandRecord, stored_commands
from tuner.study.records import EngineStats, Scores, TrialRecord, earlier_values, mean_baselines
from tuner.study.run_dir import RunDir
from tuner.study.storage import SPACE
from tuner.study.study import load_records
from tuner.study.validation import check_scores


class SearchedSpace(NamedTuple):
    """Name and version of a run's search space; the version is None in runs of older versions."""

    name: str
    version: int | None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}, version {self.version}"


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results of a run, read from its directory.

    Attributes:
        run: the run directory.
        job: the job of the run.
        records: all trials, finals included, by number.
        notes: further entries of the study, such as baselines and environment.
    """

    run: RunDir
    job: JobSpec
    records: list[TrialRecord]
    notes: Mapping[str, Any]

    @cached_property
    def goals(self) -> Goals:
        """Objectives and constraints of the run."""
        return self.job.goals

    @cached_property
    def commands(self) -> list[CommandRecord]:
        """The commands of people that the search has carried out or refused, the oldest first."""
        return stored_commands(self.notes)

    def trials_not_begun(self, command: CommandRecord) -> int:
        """Return how many of the trials that a command asked for have not begun."""
        if command.refused:
            return 0
        begun = sum(record.asked_by == command.id for record in self.records)
        return max(command.command.trials - begun, 0)

    def command_text(self, command: CommandRecord) -> str:
        """Return a command with what became of it, in words."""
        if not (missing := self.trials_not_begun(command)):
            return str(command)
        of = f"{missing} of {command.command.trials} trials"
        return f"{command}: {of} " + (
            "never began, the search ended before" if self.over else "wait"
        )

    @property
    def pair_baselines(self) -> Sequence[Mapping[str, Scores]]:
        """Scores of the baselines on each pair, held-out pairs last; empty for runs of format 1."""
        scores: Sequence[Mapping[str, Scores]] = self.notes.get("pair_baselines", ())
        return scores

    @cached_property
    def baselines(self) -> Mapping[str, Scores]:
        """Name of a baseline -> its mean scores over the pairs of the search."""
        per_pair = self.pair_baselines[: len(self.job.pairs)]
        return mean_baselines(per_pair) if per_pair else self.notes.get("baselines", {})

    @cached_property
    def held_out_baselines(self) -> Mapping[str, Scores]:
        """Name of a baseline -> its mean scores over the held-out pairs."""
        per_pair = self.pair_baselines[len(self.job.pairs) :]
        return mean_baselines(per_pair) if per_pair else self.notes.get("held_out_baselines", {})

    def ranked(self) -> Sequence[TrialResult]:
        """Return the results of all trials that have reported, the best first.

        The number of steps is part of a configuration. So a trial is ranked by its best report,
        even if it was stopped early or became worse later. The order is, most important first:

        1. the total constraint violation;
        2. with one objective: the best ``finals.count`` trials come first if they have finals,
           because a mean over several seeds depends less on luck; with several objectives: the
           non-dominated rank among all reports of all trials;
        3. the number of failed finals;
        4. the first objective, as the mean of the finals where there are any.
        """
        return self._ranking

    @cached_property
    def finals(self) -> Mapping[int, Sequence[TrialRecord]]:
        """Number of a finalist -> its finals, without the full runs of presets."""
        finals: dict[int, list[TrialRecord]] = {}
        for record in self.records:
            if record.final_of is not None and not record.full:
                finals.setdefault(record.final_of, []).append(record)
        return finals

    @cached_property
    def _ranking(self) -> Sequence[TrialResult]:
        trial_results = []
        for record in self.records:
            best = record.best_rung(self.goals)
            if best is not None and record.state != "failed" and record.final_of is None:
                finals = self.finals.get(record.trial, [])
                trial_results.append(TrialResult.from_records(record, best, finals))
        return _sorted_by(self._sort_keys(trial_results), trial_results)

    def _sort_keys(self, trial_results: Sequence[TrialResult]) -> list[tuple[float, ...]]:
        """Return the sort key of each trial for `ranked`; the total violation comes first."""
        values = [
            (self.goals.values(self.scores(r))[0], *self.goals.values(r.rung.scores)[1:])
            for r in trial_results
        ]
        if self.goals.pareto:
            other_values = earlier_values(((r.record, r.steps) for r in trial_results), self.goals)
            ranks = [key[1] for key in ranking(values, other_values)]
            return [
                (violation, rank, r.failed, *losses)
                for r, rank, (violation, *losses) in zip(trial_results, ranks, values, strict=True)
            ]
        best = _sorted_by(values, trial_results)[: self.job.finals.count]
        finalists = {r.record.trial for r in best if r.finals}
        loss_of = self.goals.first.loss
        return [
            (violation, 0, r.failed, loss_of(self.score(r)))
            if r.record.trial in finalists
            else (violation, 1, r.failed, loss)
            for r, (violation, loss) in zip(trial_results, values, strict=True)
        ]

    def score(self, trial_result: TrialResult) -> float:
        """Return the first objective of a trial: the mean of its finals, else its best report."""
        if trial_result.finals:
            return mean(trial_result.final_scores)
        return trial_result.rung.objective

    def violated(self, trial_result: TrialResult) -> list[str]:
        """Return the constraints that a trial violates, such as ``seconds_per_image <= 5``."""
        return self.goals.violated(self.scores(trial_result))

    def scores(self, trial_result: TrialResult) -> Scores:
        """Return the scores that constraints are checked on: means of the finals, else the report.

        Costs always come from the search, because a final may compute held-out pairs as well.
        """
        finals = list(trial_result.finals.values())
        return {
            name: value if name in COSTS or not finals else mean(f.scores[name] for f in finals)
            for name, value in trial_result.rung.scores.items()
        }

    def front(self) -> list[TrialResult]:
        """Return the Pareto front: results that no other result dominates.

        A trial may be on the front several times: after fewer steps its result is worse but
        cheaper.
        """
        candidates = [r.at(steps) for r in self.ranked() for steps in r.record.rungs]
        points = [self.goals.values(r.rung.scores) for r in candidates]
        chosen = [candidates[index] for index in pareto_front(points)]
        return sorted(chosen, key=lambda r: self.goals.first.loss(r.rung.objective))

    def held_out(self, trial_result: TrialResult) -> float | None:
        """Return the first objective on the held-out pairs; None for trials without finals."""
        return trial_result.held_out(self.goals.first, len(self.job.pairs))

    def better_on_held_out(self) -> TrialResult | None:
        """Return the finalist that is best on the held-out pairs; None if that is the best trial.

        Finalists that violate a constraint do not count.
        """
        ranked = self.ranked()
        if not ranked or (score_of_best := self.held_out(ranked[0])) is None:
            return None
        loss = self.goals.first.loss
        candidates = [
            (score, r)
            for r in ranked[1:]
            if not self.violated(r) and (score := self.held_out(r)) is not None
        ]
        if not candidates:
            return None
        score, winner = min(candidates, key=lambda x: loss(x[0]))
        return winner if self.goals.first.better(score, score_of_best) else None

    def best_preset(self) -> TrialResult | None:
        """Return the best result of a baseline preset or of a stylizer's defaults, or None."""
        return next((r for r in self.ranked() if r.record.is_baseline), None)

    def gain(self, score: float) -> float:
        """Return the relative gain over the untouched content: 0.3 is 30 % better.

        NaN where `change` is, and if the content has no score: the objective then includes a cost,
        which only computed pictures have.
        """
        first, content = self.goals.first, self.baselines.get("content", {})
        return self.change(score, first.of(content)) if first.known(content) else math.nan

    def change(self, score: float, base: float) -> float:
        """Return the relative gain of ``score`` over ``base``; negative if ``score`` is worse.

        NaN if ``base`` is 0 or if the objective subtracts metrics: such a sum has no natural zero,
        so percentages of it mean nothing.
        """
        if self.goals.first.has_negated_measure:
            return math.nan
        change = (score - base) / abs(base) if base else math.nan
        return change if self.goals.first.higher_is_better else -change

    def beats_content(self, score: float) -> bool | None:
        """Return whether ``score`` is better than the untouched content.

        None if the content has no score, see `gain`.
        """
        first, content = self.goals.first, self.baselines.get("content", {})
        if not first.known(content):
            return None
        return first.better(score, first.of(content))

    def comparison(self, score: float, base: float) -> str:
        """Return ``30% better`` or ``5% worse``, without percentage where `change` is NaN."""
        change = self.change(score, base)
        word = "worse" if self.goals.first.better(base, score) else "better"
        return word if math.isnan(change) else f"{abs(change):.0%} {word}"

    @property
    def engines(self) -> Sequence[EngineStats]:
        """Statistics of every engine of every launch that has ended."""
        return [EngineStats(**stats) for stats in self.notes.get("engines", [])]

    @property
    def hardware(self) -> Sequence[str]:
        """Devices that the engines computed on, each once; empty until a launch has ended."""
        return list(dict.fromkeys(stats.device for stats in self.engines if stats.device))

    @property
    def space(self) -> SearchedSpace:
        """Name and version of the search space."""
        declared = self.notes.get(SPACE)
        if not isinstance(declared, Mapping):
            return SearchedSpace(self.job.space_name, None)
        return SearchedSpace(str(declared.get("name")), declared.get("version", 1))

    def counts(self) -> dict[str, int]:
        """Return the number of trials in each state; finals do not count."""
        states = Counter(r.state for r in self.records if r.final_of is None)
        return {state: states[state] for state in ("complete", "pruned", "failed", "running")}

    @property
    def done(self) -> int:
        """Number of trials that have ended; finals do not count."""
        counts = self.counts()
        return counts["complete"] + counts["pruned"] + counts["failed"]

    @property
    def over(self) -> bool:
        """Whether the run has finished, as opposed to running or interrupted."""
        return self.notes.get("over") is not None

    def images(self, trial: int, steps: int | None = None) -> list[str]:
        """Return the paths of a trial's pictures relative to the run, one for each pair.

        Args:
            trial: number of the trial.
            steps: by default those of its best report; only runs with several objectives have
                pictures after other steps.
        """
        pairs = range(len(self.job.pairs))
        if steps is None or steps == self.trial_result(trial).steps:
            return [self.run.image(trial, pair) for pair in pairs]
        return [self.run.frame(trial, steps, pair) for pair in pairs]

    def picture(self, result: TrialResult, pair: int) -> Path:
        """Return the picture of a result to look at: rendered larger, or else as it was tuned."""
        trial = result.record.trial
        presented = self.run.path / self.run.presented(trial, result.steps, pair)
        return presented if presented.is_file() else self.run.path / self.run.image(trial, pair)

    def input_files(self, pair: int) -> dict[str, Path]:
        """Return the input files of a pair of the search by role.

        The roles are ``content``, ``style``, ``style2`` … in the order of the job, ``reference``.
        """
        spec = self.job.pairs[pair]
        files = {"content": self.run.path / spec.content}
        for number, style in enumerate(spec.style, start=1):
            files["style" if number == 1 else f"style{number}"] = self.run.path / style.image
        return {**files, "reference": self.run.path / spec.reference_file}

    def trial_result(self, trial: int | None = None, steps: int | None = None) -> TrialResult:
        """Return the result of a trial.

        Args:
            trial: number of the trial; by default the best one.
            steps: number of steps; by default those of its best report.

        Raises:
            RunError: there is no such trial, or it reported no score after these steps.
        """
        ranked = self.ranked()
        chosen = next((r for r in ranked if trial in (None, r.record.trial)), None)
        if chosen is None:
            raise RunError(f"{self.run.path}: {self._why_no_result(trial)}")
        if steps is None:
            return chosen
        if steps not in (reported := chosen.record.rungs):
            raise RunError(
                f"{self.run.path}: trial {chosen.record.trial} reported no score after {steps}"
                f" steps; choose one of its steps: {', '.join(map(str, reported))}"
            )
        return chosen.at(steps)

    def _why_no_result(self, trial: int | None) -> str:
        """Return why a trial has no result, and the numbers of trials that have one."""
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
        best = ", ".join(str(r.record.trial) for r in self.ranked()[:8])
        choices = f"; trials with a result, the best first: {best}" if best else ""
        if record.state == "failed":
            return f"trial {trial} failed and has no result ({record.reason}){choices}"
        return f"trial {trial} has not reported a score yet{choices}"

    def preset(self, trial: int | None = None, steps: int | None = None) -> Preset | StylizerPreset:
        """Return the configuration of a trial as a preset with its provenance.

        Args:
            trial: number of the trial; by default the best one.
            steps: number of steps; by default those of its best report.

        Raises:
            RunError: there is no such trial, or it reported no score after these steps.
        """
        return tuned_preset(self, self.trial_result(trial, steps))


def _sorted_by(
    keys: Sequence[tuple[float, ...]], trial_results: Sequence[TrialResult]
) -> list[TrialResult]:
    """Return results by ascending key; of equal ones those with fewer steps come first."""
    keyed = zip(keys, trial_results, strict=True)
    return [r for _, r in sorted(keyed, key=lambda x: (x[0], x[1].steps, x[1].record.trial))]


def load_results(folder: Path) -> Results:
    """Read the results of a run directory.

    Raises:
        RunError: the folder is no run directory, it is damaged, or its job file was edited.
    """
    run = RunDir(folder).require()
    try:
        job = JobSpec.model_validate(read_yaml(run.job_file).data)
    except ValidationError as error:
        raise RunError(
            f"{run.job_file}: not a valid job ({len(error.errors())} problems); this file must stay"
            " as the run wrote it: restore it from a backup, or launch a new run"
        ) from None
    records, notes = load_records(folder)
    check_scores(run.path, job.goals.measures, records)
    return Results(run=run, job=job, records=records, notes=notes)
