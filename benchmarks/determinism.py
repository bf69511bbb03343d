"""Variation of results between runs of one configuration without random numbers, in float32.

Command: ``python -m benchmarks.determinism``. Float32 sums depend on how work is divided: by other
lanes in a batch, by threads, by the instruction set of the processor. Each re-run differs in one of
these. The spread of LPIPS over re-runs is compared with the spread over seeds, for the same start
(where a seed adds a fortieth of an 8-bit level of noise) and for a start from noise.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.support.common import (
    Goal,
    JsonOption,
    Pair,
    PairsOption,
    QuickOption,
    Row,
    Section,
    pairs_from,
    progress,
    publish,
    run,
)
from nst_core.config import StyleConfig
from nst_core.images.tensors import to_uint8
from nst_core.lanes.batch import LaneBatch
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import get_weights
from search_spaces import CATALOGUE

#: Batch sizes; all lanes of a batch have the same configuration. With the four re-runs of a single
#: lane, these are 20 re-runs.
BATCHES = (2, 3, 4, 7)
#: Re-runs of a single lane: name, number of threads, environment variables that limit the
#: instructions which torch and oneDNN use.
SINGLE_RUNS: tuple[tuple[str, int, dict[str, str]], ...] = (
    ("alone", 1, {}),
    ("two threads", 2, {}),
    ("AVX2", 1, {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    ("no vectors", 1, {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
)
#: Number of runs with other seeds.
SEEDS = 4
#: Largest spread as a share of the spread over seeds that does not affect the choice of finalists.
MAX_SHARE = 0.1


def main(
    pair: PairsOption = None,
    size_px: Annotated[int, typer.Option(help="longer side")] = 96,
    steps: Annotated[
        list[int] | None, typer.Option(help="steps after which images are compared; repeatable")
    ] = None,
    start: Annotated[int, typer.Option(help="initial point of `gram`, by number")] = 2,
    batch: Annotated[list[int] | None, typer.Option(help="lanes of a batch; repeatable")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Re-run one configuration in batches, with other threads and with other instructions."""
    looks = sorted(steps or ((5,) if quick else (90, 300)))
    batches = batch or ((2,) if quick else BATCHES)
    (chosen_pair, *_) = pairs_from(pair, count=1)
    gram = CATALOGUE["gram"]
    config = gram.build(gram.initial_points[start - 1], size_px=size_px, steps=looks[-1])
    images, by_seed = _run_all(chosen_pair, config, looks, batches)
    suite = MetricSuite.load(get_weights, metrics=("lpips",))
    reference_HW3 = to_uint8(chosen_pair.reference(size_px))

    def lpips(images_LSHW3: np.ndarray, look: int) -> list[float]:
        return [suite.score(image, reference_HW3)["lpips"] for image in images_LSHW3[:, look]]

    rows, summary = [], []
    for look, step in enumerate(looks):
        runs = {name: lpips(lanes, look) for name, lanes in images.items()}
        for name, scores in runs.items():
            alone = images["alone"][0, look]
            rows.append(_row(step, name, scores, runs["alone"][0], images[name][:, look], alone))
        spreads = {name: stdev(lpips(lanes, look)) for name, lanes in by_seed.items()}
        summary.append(_summary_row(step, [score for s in runs.values() for score in s], spreads))
    publish(
        "Determinism",
        f"LPIPS of re-runs of initial point {start} of `gram` on {chosen_pair.name} at {size_px}"
        " px, float32; a batch has the same configuration in every lane. Spreads over seeds are"
        f" those of {SEEDS} runs, of this start and of one from noise.",
        [Section(title="All re-runs", rows=summary), Section(title="By what differs", rows=rows)],
        goals=[
            Goal(
                name=f"spread after {row['steps']} steps as a share of that from noise",
                value=row["share of it"],
                goal=MAX_SHARE,
                at_most=True,
            )
            for row in summary
        ],
        json_file=json_file,
    )


def _run_all(
    pair: Pair, config: StyleConfig, looks: Sequence[int], batches: Sequence[int]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return images_LSHW3 by re-run, and images of runs with several seeds by start."""
    with progress() as bar, tempfile.TemporaryDirectory() as folder:
        task = bar.add_task("re-runs", total=len(SINGLE_RUNS) + len(batches) + 1)
        images: dict[str, np.ndarray] = {}
        for name, threads, environment in SINGLE_RUNS:
            file = Path(folder) / "alone.npy"
            images[name] = run_in_process(pair, config, looks, threads, environment, file)
            bar.advance(task)
        torch.set_num_threads(1)
        for lanes in batches:
            images[f"batch of {lanes}"] = run_batch(pair, [config] * lanes, looks)
            bar.advance(task)
        starts = {"own": config, "noise": config.replace(init="noise")}
        by_seed = {
            name: run_batch(pair, [start.replace(seed=1 + n) for n in range(SEEDS)], looks)
            for name, start in starts.items()
        }
        bar.advance(task)
    return images, by_seed


def _summary_row(step: int, scores: Sequence[float], spreads: Mapping[str, float]) -> Row:
    """Return the spread of all re-runs, next to the spreads over seeds by start."""
    return {
        "steps": step,
        "re-runs": len(scores),
        "mean": float(np.mean(scores)),
        "spread": stdev(scores),
        "largest difference": max(scores) - min(scores),
        "spread over seeds": spreads["own"],
        "from noise": spreads["noise"],
        "share of it": stdev(scores) / spreads["noise"],
    }


def _row(
    step: int,
    name: str,
    scores: Sequence[float],
    alone: float,
    images_LHW3: np.ndarray,
    alone_HW3: np.ndarray,
) -> Row:
    """Return the differences between the lanes of a re-run and the reference run."""
    differences = [np.abs(image.astype(int) - alone_HW3) for image in images_LHW3]
    return {
        "steps": step,
        "re-run": name,
        "same picture": not any(difference.any() for difference in differences),
        "LPIPS apart, at most": max(abs(score - alone) for score in scores),
        "pixels apart, mean of 255": float(
            np.mean([difference.mean() for difference in differences])
        ),
    }


def run_batch(pair: Pair, configs: Sequence[StyleConfig], looks: Sequence[int]) -> np.ndarray:
    """Run one batch; return images_LSHW3, uint8, of L lanes after each of S step counts."""
    inputs = LossInputs.at_size(pair.content_3HW, [(pair.style_3HW, 1.0)], configs[0].size_px)
    batch = LaneBatch(FeatureStore(get_weights))
    for key, config in enumerate(configs):
        batch.add(key, config, inputs)
    by_steps = []
    for step in looks:
        batch.advance(step - batch.lanes[0].step)
        by_steps.append([to_uint8(batch.picture(key)) for key in range(len(configs))])
    return np.asarray(by_steps).swapaxes(0, 1)


def run_in_process(
    pair: Pair,
    config: StyleConfig,
    looks: Sequence[int],
    threads: int,
    environment: dict[str, str],
    file: Path,
) -> np.ndarray:
    """Like `run_batch` for one lane, in a new process with other environment variables."""
    task = file.with_suffix(".pt")
    torch.save({"pair": vars(pair), "config": config.to_dict(), "looks": list(looks)}, task)
    command = [sys.executable, "-m", "benchmarks.determinism", str(task), str(threads), str(file)]
    subprocess.run(command, check=True, env={**os.environ, **environment})
    return np.asarray(np.load(file))


def _child(task_file: str, threads: str, file: str) -> None:
    torch.set_num_threads(int(threads))
    task = torch.load(task_file, weights_only=True)
    config = StyleConfig.from_dict(task["config"])
    np.save(file, run_batch(Pair(**task["pair"]), [config], task["looks"]))


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1].endswith(".pt"):
        _child(*sys.argv[1:])
    else:
        run(main)
