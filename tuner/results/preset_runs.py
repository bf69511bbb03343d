"""Preset runs: how far each baseline preset ran, so that every comparison with one can say so.

In a run with another stylizer, its own defaults take the place of the presets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nst_core.presets.built_in import BUILT_IN
from tuner.results.trial_result import TrialResult

if TYPE_CHECKING:
    from tuner.results.results import Results
    from tuner.study.records import RungRecord, TrialRecord


@dataclass(frozen=True, kw_only=True)
class PresetRun:
    """One run of a baseline preset, or of the defaults of another stylizer.

    Attributes:
        preset: name of the preset; None: the stylizer's defaults.
        trial: number of the trial that ran it.
        objective: value of the first objective that it reached.
        full: whether it ran all steps of the published preset.
        steps: number of steps that it ran.
        own_steps: steps of the published preset, or None if this version does not know the preset.
        network: network that it ran on; None for another stylizer.
        own_network: network of the published preset, or None if this version does not know it.
    """

    preset: str | None
    trial: int
    objective: float
    full: bool
    steps: int
    own_steps: int | None
    network: str | None
    own_network: str | None

    @property
    def role(self) -> str:
        """What the run is compared with, for captions."""
        return "best published preset" if self.preset else "stylizer's defaults"

    @property
    def short_role(self) -> str:
        """`role` in a word or two, for headings."""
        return "best preset" if self.preset else "defaults"

    @property
    def title(self) -> str:
        """`role` with the name of the preset and how much of it ran."""
        return f"{self.role}, {self}" if self.preset else self.role

    @property
    def caption(self) -> str:
        """What ran and how much of it."""
        return f"{self.preset or f'trial {self.trial}'}, {self.ran}"

    @property
    def ran(self) -> str:
        """How much of the published preset ran, such as ``cut to 90 of its 1,000 steps``."""
        parts = [f"{self.steps:,} step{'' if self.steps == 1 else 's'}"]
        if self.full and self.preset:
            parts = [f"in full, {self.steps:,} steps"]
        elif self.own_steps is not None:
            parts = [f"cut to {self.steps:,} of its {self.own_steps:,} steps"]
        if self.own_network not in (None, self.network):
            parts.append(f"on {self.network} instead of {self.own_network}")
        return ", ".join(parts)

    def __str__(self) -> str:
        return f"{self.preset or self.role} ({self.ran})"


def preset_run(record: TrialRecord, objective: float) -> PresetRun:
    """Return the preset run of a trial.

    Args:
        record: the trial, with a preset or the defaults of another stylizer.
        objective: value of the first objective that it reached.
    """
    if record.preset is None:
        return PresetRun(
            preset=None,
            trial=record.trial,
            objective=objective,
            full=True,
            steps=int(record.config["steps"]),
            own_steps=None,
            network=None,
            own_network=None,
        )
    return preset_run_from_config(record.preset, record.trial, record.config, objective)


def preset_run_from_config(
    preset: str, trial: int, config: Mapping[str, Any], objective: float
) -> PresetRun:
    """Return a preset run.

    Args:
        preset: name of the preset.
        trial: number of the trial.
        config: its configuration as plain JSON.
        objective: value of the first objective that it reached.
    """
    steps, network = int(config["steps"]), str(config["extractor"])
    published = BUILT_IN.get(preset)
    own_steps = published.config.steps if published else None
    return PresetRun(
        preset=preset,
        trial=trial,
        objective=objective,
        full=own_steps is not None and steps >= own_steps,
        steps=steps,
        own_steps=own_steps,
        network=network,
        own_network=published.config.extractor if published else None,
    )


def best_preset_run(results: Results) -> PresetRun | None:
    """Return the best run of any preset, runs in full included; gains are measured against it."""
    runs = [
        preset_run(result.record, results.score(result))
        for result in results.ranked()
        if result.record.is_baseline
    ][:1]
    runs += [preset_run(record, best[1].objective) for record, best in full_runs(results)]
    loss = results.goals.first.loss
    return min(runs, key=lambda run: (loss(run.objective), not run.full), default=None)


def best_preset_result(results: Results) -> TrialResult | None:
    """Return the result of `best_preset_run`, or None if no preset has reported."""
    run = best_preset_run(results)
    if run is None:
        return None
    for record, (steps, rung) in full_runs(results):
        if record.trial == run.trial:
            return TrialResult(record=record, steps=steps, rung=rung)
    return results.trial_result(run.trial)


def full_runs(results: Results) -> list[tuple[TrialRecord, tuple[int, RungRecord]]]:
    """Return the presets that ran all their published steps, each with its best (steps, report)."""
    return [
        (record, best)
        for record in results.records
        if record.full and record.state == "complete" and (best := record.best_rung(results.goals))
    ]


def preset_json(results: Results) -> Mapping[str, Any] | None:
    """Return the best preset run as JSON, with the gain of the best trial over it.

    Return None if no preset has reported.
    """
    ranked, run = results.ranked(), best_preset_run(results)
    if not ranked or run is None:
        return None
    gain = results.change(results.score(ranked[0]), run.objective)
    return {**asdict(run), "gain": None if math.isnan(gain) else gain, "ran": str(run)}
