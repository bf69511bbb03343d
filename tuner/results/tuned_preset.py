"""The result of a trial as a preset, with its provenance."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nst_core.networks.registry import OWN_WEIGHTS_LICENCE, WEIGHTS_LICENCE
from nst_core.presets.preset import Preset, StylizerPreset, make_preset
from nst_core.stylizer_config import configuration_from_dict
from tuner.results.trial_result import TrialResult

if TYPE_CHECKING:
    from tuner.results.results import Results


def tuned_preset(results: Results, result: TrialResult) -> Preset | StylizerPreset:
    """Return the configuration of a result as a preset, with everything that is known about it."""
    score, violated = results.score(result), results.violated(result)
    weights = _own_weights(results, result.config.get("extractor", ""))
    note = f", violates {' and '.join(violated)}" if violated else ""
    return make_preset(
        configuration_from_dict(
            {**result.config, **results.job.resources.final_settings},
            source=f"trial {result.record.trial}",
        ),
        name=f"{results.job.name}-{result.record.trial}",
        description=f"tuned: {results.goals.first.labeled(score)}{note}",
        provenance={
            "kind": "tuned",
            "run": results.job.name,
            "trial": result.record.trial,
            "preset": result.record.preset,
            "objective": results.goals.name,
            "score": score,
            "broken": violated,
            "finals": result.final_scores,
            "finals_failed": result.failed,
            "spread": result.spread,
            "held_out": results.held_out(result),
            "scores": dict(result.rung.scores),
            "baselines": results.baselines,
            "pairs": len(results.job.pairs),
            "inputs": results.job.pairs[0].model_dump(
                mode="json", by_alias=True, exclude_none=True
            ),
            "seconds": result.rung.seconds,
            "worker": result.rung.worker,
            "precision": result.config.get("precision"),
            "search": results.job.search.model_dump(mode="json", exclude={"replay"}),
            "environment": results.notes.get("environment", {}),
            "hardware": results.hardware,
            "weights": weights,
            "licence": _licence(result.config, weights),
        },
    )


def _own_weights(results: Results, network: str) -> dict[str, dict[str, str | None]]:
    """Return the weights file that the job names for a network, and the digest of the weights.

    Empty if the job names no file. The digest is that of the start of the run; older runs have
    None.
    """
    if network not in results.job.weights:
        return {}
    file = os.path.normpath(results.run.path / results.job.weights[network])
    return {network: {"file": file, "digest": results.notes.get("weights", {}).get(network)}}


def _licence(config: Mapping[str, Any], own_weights: Mapping[str, Any]) -> str | None:
    """Return the license of a result's weights; None for another stylizer, which has its own."""
    if "extractor" not in config:
        return None
    return f"weights: {OWN_WEIGHTS_LICENCE if own_weights else WEIGHTS_LICENCE}"
