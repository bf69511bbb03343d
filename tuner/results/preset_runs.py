"""Baseline presets as they ran: what each was cut to, so that no gain over them stands alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nst_core.presets.built_in import BUILT_IN

if TYPE_CHECKING:
    from tuner.results.results import Results
    from tuner.study.records import RungRecord, TrialRecord


@dataclass(frozen=True, kw_only=True)
class PresetRun:
    """One run of a baseline preset.

    Attributes:
        preset: its name.
        trial: number of the run.
        objective: value that it reached.
        full: whether it ran to the preset's own steps.
        steps: that it ran.
        own_steps: of the preset as published, if this version knows it.
        network: that it ran on.
        own_network: of the preset as published, if this version knows it.
    """

    preset: str
    trial: int
    objective: float
    full: bool
    steps: int
    own_steps: int | None
    network: str
    own_network: str | None

    @property
    def ran(self) -> str:
        """How much of the preset it is, in words."""
        parts = [f"{self.steps:,} steps"]
        if self.full:
            parts = [f"in full, {self.steps:,} steps"]
        elif self.own_steps is not None:
            parts = [f"cut to {self.steps:,} of its {self.own_steps:,} steps"]
        if self.own_network not in (None, self.network):
            parts.append(f"on {self.network} instead of {self.own_network}")
        return ", ".join(parts)

    def __str__(self) -> str:
        return f"{self.preset} ({self.ran})"


def preset_run(record: TrialRecord, objective: float) -> PresetRun:
    """A trial of a preset, or a run of it in full, with what it reached."""
    assert record.preset is not None
    return run_of(record.preset, record.trial, record.config, objective)


def run_of(preset: str, trial: int, config: Mapping[str, Any], objective: float) -> PresetRun:
    """A run of a preset by its configuration, as plain JSON."""
    steps, network = int(config["steps"]), str(config["extractor"])
    known = BUILT_IN.get(preset)
    own_steps = known.config.steps if known else None
    return PresetRun(
        preset=preset,
        trial=trial,
        objective=objective,
        full=own_steps is not None and steps >= own_steps,
        steps=steps,
        own_steps=own_steps,
        network=network,
        own_network=known.config.extractor if known else None,
    )


def best_preset_run(results: Results) -> PresetRun | None:
    """The run of a preset that any gain is measured against: the best, in full ones included."""
    runs = [
        preset_run(found.record, results.score(found))
        for found in results.ranked()
        if found.record.preset
    ][:1]
    runs += [preset_run(record, best[1].objective) for record, best in full_runs(results)]
    loss = results.goals.first.loss
    return min(runs, key=lambda run: (loss(run.objective), not run.full), default=None)


def full_runs(results: Results) -> list[tuple[TrialRecord, tuple[int, RungRecord]]]:
    """Presets that ran to their own steps at the end, each with its best (steps, report)."""
    return [
        (record, best)
        for record in results.records
        if record.full and record.state == "complete" and (best := record.best_rung(results.goals))
    ]


def gain_over_presets(results: Results) -> str | None:
    """``17% better than the best preset, NAME (cut to …)``; None where there is no other preset."""
    ranked, run = results.ranked(), best_preset_run(results)
    if not ranked or run is None or run.trial == ranked[0].record.trial:
        return None
    against = results.against(results.score(ranked[0]), run.objective)
    return f"{against} than the best preset, {run}"


def preset_json(results: Results) -> Mapping[str, Any] | None:
    """What the JSON of a run says of the best preset, how far it ran, and what was gained."""
    ranked, run = results.ranked(), best_preset_run(results)
    if not ranked or run is None:
        return None
    change = results.change(results.score(ranked[0]), run.objective)
    return {**asdict(run), "gain": None if math.isnan(change) else change, "ran": str(run)}
