"""Record learning curves of many configurations on real pairs, for simulated searches.

Command: ``python -m benchmarks.record --out curves.npz``. Every pair runs the same configurations,
points of a Sobol sequence over the space, without early stopping. Curves that are already in the
file are kept; each new pair is added.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.support.common import (
    JsonOption,
    Pair,
    PairsOption,
    QuickOption,
    Row,
    Section,
    err,
    on_one_thread,
    pairs_from,
    progress,
    publish,
    run,
)
from benchmarks.support.curves import COMMITTED, Curves, PairCurves, load_curves
from benchmarks.support.gaussian_process import Kernel, fitted_kernel
from benchmarks.support.runs import engine_pair, weights_of_a_job
from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.metrics.suite import MetricSuite
from nst_core.stylization import default_device
from search_spaces import Params, Space
from tuner.engine.engine import Engine
from tuner.engine.pairs import baseline_scores
from tuner.job.find_space import find_space
from tuner.sampling.encoding import encode_all
from tuner.sampling.sobol_grid import planned_point

SIZE_PX = 64
STEPS = (5, 10, 15, 20, 30, 45, 60, 90)
CONFIGS = 300
LANES = 8
#: Number of configurations per task of a worker process.
_PART = 40


def main(
    pair: PairsOption = None,
    space: Annotated[str, typer.Option(help="a named space or a path to one")] = "gram",
    configs: Annotated[int | None, typer.Option(min=1, help="configurations")] = None,
    size_px: Annotated[int, typer.Option(help="longer side")] = SIZE_PX,
    out: Annotated[Path, typer.Option(help="file of curves; it is added to")] = COMMITTED,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Record curves of each pair; with --quick, of a few configurations, without a file."""
    if quick:
        with tempfile.TemporaryDirectory() as scratch:
            curves = record_all(
                pairs_from(pair, count=1), space, 8, size_px, Path(scratch) / "q.npz"
            )
    else:
        curves = record_all(pairs_from(pair), space, configs or CONFIGS, size_px, out)
    publish(
        "Recorded curves",
        f"{len(curves.params)} configurations of the space `{curves.space.name}` at {size_px} px."
        " `guess`: mean difference of a configuration's LPIPS at the last step from its prediction"
        " by neighboring configurations.",
        [Section(title="Pairs", rows=[row_of(curves, name) for name in curves.pairs])],
        json_file=json_file,
    )


def row_of(curves: Curves, pair: str) -> Row:
    """Return the table row of one pair."""
    recorded = curves.pairs[pair]
    last_N = recorded.score_NSM[:, -1, curves.metrics.index("lpips")]
    guess_N = curves.left_out(pair)[:, -1, curves.metrics.index("lpips")]
    return {
        "pair": pair,
        "diverged": int(np.isnan(last_N).sum()),
        "best lpips": float(np.nanmin(recorded.score_NSM[:, :, curves.metrics.index("lpips")])),
        "median": float(np.nanmedian(last_N)),
        "untouched": recorded.untouched["lpips"],
        "guess off by": float(np.nanmean(np.abs(guess_N - last_N))),
        "median off by": float(np.nanmean(np.abs(last_N - np.nanmedian(last_N)))),
    }


def record_all(wanted: Sequence[Pair], space: str, configs: int, size_px: int, out: Path) -> Curves:
    """Record the pairs that are not in the file, and write the file after each of them."""
    chosen = find_space(space)
    points = [_point(chosen, index) for index in range(configs)]
    existing = load_curves(out) if out.is_file() else None
    pairs: dict[str, PairCurves] = dict(existing.pairs) if existing else {}
    if existing and (list(existing.params) != points or existing.size_px != size_px):
        raise InputError(f"{out}: holds curves of other configurations; name another file")
    new = [
        replace(pair, reference_3HW=pair.reference(size_px))
        for pair in wanted
        if pair.name not in pairs
    ]
    parts = [points[at : at + _PART] for at in range(0, configs, _PART)]
    with progress() as bar, _processes() as pool:
        task = bar.add_task("configurations", total=len(new) * configs)
        recorded = {
            pair.name: [pool.submit(record, pair, chosen, part, size_px) for part in parts]
            for pair in new
        }
        for pair in new:
            scores = []
            for part, future in zip(parts, recorded[pair.name], strict=True):
                scores.append(future.result())
                bar.advance(task, len(part))
            encoded_ND = encode_all(chosen, points)
            pairs[pair.name] = pair_curves(pair, size_px, np.concatenate(scores))
            curves = Curves(
                space=chosen,
                params=points,
                steps=STEPS,
                metrics=METRICS_KEPT,
                pairs=pairs,
                size_px=size_px,
                kernel=kernel_of(encoded_ND, pairs.values()),
            )
            _replace(out, curves)
    err.print(f"{out}: {len(pairs)} pairs, {configs} configurations, {out.stat().st_size} bytes")
    return load_curves(out)


def kernel_of(points_ND: np.ndarray, pairs: Iterable[PairCurves]) -> Kernel:
    """Return the kernel that fits the LPIPS of all pairs at the last step."""
    last_NP = np.stack([pair.score_NSM[:, -1, METRICS_KEPT.index("lpips")] for pair in pairs], 1)
    known_N = ~np.isnan(last_NP).any(1)
    return fitted_kernel(points_ND[known_N], last_NP[known_N])


def _processes() -> ProcessPoolExecutor:
    """Return a pool of one process for a GPU, else of one per core, like engines of a job."""
    on_gpu = default_device().type == "cuda"
    return ProcessPoolExecutor(
        1 if on_gpu else os.cpu_count(),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=None if on_gpu else on_one_thread,
    )


def _replace(out: Path, curves: Curves) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        temporary = Path(scratch) / out.name
        curves.save(temporary)
        temporary.replace(out)


METRICS_KEPT = ("lpips", "ssim", "rmse", "color", "edges")


def _point(space: Space, index: int) -> Params:
    """Return a point of the Sobol sequence, rounded like the numbers in the file."""
    params = planned_point("sobol", space, index, seed=0)
    assert params is not None
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in params.items()}


def record(pair: Pair, space: Space, points: Sequence[Params], size_px: int) -> np.ndarray:
    """Return score_NSM, float64, of N configurations after S step counts by M metrics.

    Scores after a failure are NaN.
    """
    engine = Engine([engine_pair(pair, size_px)], weights_of_a_job(), device=default_device())
    configs = [space.build(params, size_px=size_px, steps=STEPS[-1]) for params in points]
    score_NSM = np.full((len(configs), len(STEPS), len(METRICS_KEPT)), np.nan)
    waiting = list(range(len(configs)))[::-1]
    for _ in range(min(LANES, len(configs))):
        _submit(engine, configs, waiting.pop(), 0)
    while engine.busy:
        for report in engine.advance():
            index = report.trial
            over = report.failure is not None
            if not over:
                at = STEPS.index(report.steps)
                score_NSM[index, at] = [report.scores[name] for name in METRICS_KEPT]
                over = at + 1 == len(STEPS)
            if not over:
                _submit(engine, configs, index, at + 1)
                continue
            engine.drop(index)
            if waiting:
                _submit(engine, configs, waiting.pop(), 0)
    return score_NSM


def pair_curves(pair: Pair, size_px: int, score_NSM: np.ndarray) -> PairCurves:
    """Return the curves of one pair with their baseline."""
    prepared = engine_pair(pair, size_px)
    suite = MetricSuite.load(weights_of_a_job().__getitem__, default_device())
    untouched: Mapping[str, float] = baseline_scores([prepared], suite)[0]["content"]
    return PairCurves(
        name=pair.name,
        score_NSM=score_NSM,
        untouched={name: untouched[name] for name in METRICS_KEPT},
    )


def _submit(engine: Engine, configs: Sequence[StyleConfig], index: int, at: int) -> None:
    beyond = STEPS[at + 1] if at + 1 < len(STEPS) else None
    engine.submit(index, configs[index], STEPS[at], beyond)


if __name__ == "__main__":
    run(main)
