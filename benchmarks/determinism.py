"""Is a run that draws nothing the same every time? Re-runs of one configuration, in float32.

A start without noise has no seed, yet float32 sums differ with how the work is divided: by the
lanes beside it in a batch, by threads, by the instructions of the processor. Each re-run differs in
one of these. The spread of their LPIPS is compared with that over seeds of the same start, which
disturb it by a fortieth of an 8-bit level, and of a start from noise.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
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

#: Lanes of the batches whose lanes are all the same configuration: with the four re-runs that are
#: alone, 20 in all.
BATCHES = (2, 3, 4, 7)
#: What else may differ: threads, and what the environment tells torch and oneDNN of the processor.
ALONE: tuple[tuple[str, int, dict[str, str]], ...] = (
    ("alone", 1, {}),
    ("two threads", 2, {}),
    ("AVX2", 1, {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    ("no vectors", 1, {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
)
#: Runs with other seeds.
SEEDS = 4
#: A spread of less than this share of that over seeds decides nothing among finalists.
MOST_SHARE = 0.1


def main(
    pair: PairsOption = None,
    size_px: Annotated[int, typer.Option(help="longer side")] = 96,
    steps: Annotated[list[int] | None, typer.Option(help="where to look; repeatable")] = None,
    start: Annotated[int, typer.Option(help="start of `gram`, by number")] = 2,
    batch: Annotated[list[int] | None, typer.Option(help="lanes of a batch; repeatable")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Re-run one configuration in varied company, on varied kernels."""
    looks = sorted(steps or ((5,) if quick else (90, 300)))
    batches = batch or ((2,) if quick else BATCHES)
    (one, *_) = pairs_from(pair, count=1)
    gram = CATALOGUE["gram"]
    config = gram.build(gram.initial_points[start - 1], size_px=size_px, steps=looks[-1])
    noisy = config.replace(init="noise")
    with progress() as bar, tempfile.TemporaryDirectory() as folder:
        task = bar.add_task("re-runs", total=len(ALONE) + len(batches) + 1)
        found: dict[str, np.ndarray] = {}  # of each way, pictures_LSHW3: lanes, looks
        for name, threads, environment in ALONE:
            file = Path(folder) / "alone.npy"
            found[name] = in_process(one, config, looks, threads, environment, file)
            bar.advance(task)
        torch.set_num_threads(1)
        for lanes in batches:
            found[f"batch of {lanes}"] = pictures(one, [config] * lanes, looks)
            bar.advance(task)
        seeds, disturbed = (
            pictures(one, [base.replace(seed=seed) for seed in range(1, 1 + SEEDS)], looks)
            for base in (noisy, config)
        )
        bar.advance(task)
    reference = one.reference(size_px)
    judge = MetricSuite.load(get_weights, metrics=("lpips",))
    goal_HW3 = to_uint8(reference)

    def lpips(images_SHW3: Sequence[np.ndarray], look: int) -> list[float]:
        return [judge.score(image, goal_HW3)["lpips"] for image in (i[look] for i in images_SHW3)]

    rows, summary = [], []
    for look, step in enumerate(looks):
        seed_spread = stdev(lpips(list(seeds), look))
        runs = {name: lpips(list(lanes), look) for name, lanes in found.items()}
        alone = found["alone"][0][look]
        for name, scores in runs.items():
            others = [lane[look] for lane in found[name]]
            rows.append(_row(step, name, scores, runs["alone"][0], others, alone))
        every = [score for scores in runs.values() for score in scores]
        summary.append(
            {
                "steps": step,
                "re-runs": len(every),
                "mean": float(np.mean(every)),
                "spread": stdev(every),
                "largest difference": max(every) - min(every),
                "spread over seeds": stdev(lpips(list(disturbed), look)),
                "from noise": seed_spread,
                "share of it": stdev(every) / seed_spread,
            }
        )
    publish(
        "Determinism",
        f"LPIPS of re-runs of start {start} of `gram` on {one.name} at {size_px} px, float32; a"
        " batch has the same configuration in every lane. Spreads over seeds are those of"
        f" {SEEDS} runs, of this start and of one from noise.",
        [Section(title="All re-runs", rows=summary), Section(title="By what differs", rows=rows)],
        goals=[
            Goal(
                name=f"spread after {row['steps']} steps as a share of that from noise",
                value=row["share of it"],
                goal=MOST_SHARE,
                at_most=True,
            )
            for row in summary
        ],
        json_file=json_file,
    )


def _row(
    step: int,
    name: str,
    scores: Sequence[float],
    alone: float,
    images: Sequence[np.ndarray],
    alone_HW3: np.ndarray,
) -> Row:
    """How far the lanes of one way are from the run that is alone."""
    apart = [np.abs(image.astype(int) - alone_HW3) for image in images]
    return {
        "steps": step,
        "re-run": name,
        "same picture": not any(one.any() for one in apart),
        "LPIPS apart, at most": max(abs(score - alone) for score in scores),
        "pixels apart, mean of 255": float(np.mean([one.mean() for one in apart])),
    }


def pictures(pair: Pair, configs: Sequence[StyleConfig], looks: Sequence[int]) -> np.ndarray:
    """Results of one batch after some numbers of steps: 8-bit pictures_LSHW3."""
    materials = LossInputs.at_size(pair.content_3HW, [(pair.style_3HW, 1.0)], configs[0].size_px)
    batch = LaneBatch(FeatureStore(get_weights))
    for key, config in enumerate(configs):
        batch.add(key, config, materials)
    seen = []
    for step in looks:
        batch.advance(step - batch.lanes[0].step)
        seen.append([to_uint8(batch.picture(key)) for key in range(len(configs))])
    return np.asarray(seen).swapaxes(0, 1)


def in_process(
    pair: Pair,
    config: StyleConfig,
    looks: Sequence[int],
    threads: int,
    environment: dict[str, str],
    file: Path,
) -> np.ndarray:
    """As `pictures`, of one lane in a process of its own, which reads the environment anew."""
    task = file.with_suffix(".pt")
    torch.save({"pair": vars(pair), "config": config.to_dict(), "looks": list(looks)}, task)
    command = [sys.executable, "-m", "benchmarks.determinism", str(task), str(threads), str(file)]
    subprocess.run(command, check=True, env={**os.environ, **environment})
    return np.asarray(np.load(file))


def _child(task_file: str, threads: str, file: str) -> None:
    torch.set_num_threads(int(threads))
    task = torch.load(task_file, weights_only=True)
    config = StyleConfig.from_dict(task["config"])
    np.save(file, pictures(Pair(**task["pair"]), [config], task["looks"]))


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1].endswith(".pt"):
        _child(*sys.argv[1:])
    else:
        run(main)
