"""Whether a search in a lower precision ranks configurations as one in float32 does.

Command: ``python -m benchmarks.precision``. It runs configurations of the space `gram` in each
precision and compares the rankings. The precisions alternate, a few configurations at a time, so
that other load on the machine affects all of them. TF32 is emulated where the device lacks it.
``--keep FILE`` keeps the scores after each turn, and a second start continues from them.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from unittest import mock

import torch
import typer
from scipy.stats import kendalltau

from benchmarks.support.common import (
    Goal,
    JsonOption,
    PairsOption,
    QuickOption,
    Row,
    Section,
    pairs_from,
    progress,
    publish,
    run,
)
from benchmarks.support.emulated_precision import Tf32Products
from benchmarks.support.runs import engine_pair, weights_of_a_job
from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.files import write_atomic
from nst_core.networks import winograd
from nst_core.networks.precision_support import has_bfloat16, has_tf32
from nst_core.stylization import default_device
from search_spaces import CATALOGUE, Space
from tuner.engine.engine import Engine
from tuner.sampling.sobol_grid import planned_point

CONFIGURATIONS, QUICK_CONFIGURATIONS = 60, 4
#: Rungs at which configurations are compared.
STEPS, QUICK_STEPS = (15, 45), (2, 6)
SIZE_PX = 64
#: Number of lanes that run together. At 64 px, reading the weights costs as much as the pictures.
LANES = 16
METRIC = "lpips"
#: Least agreement of a ranking with that of float32 for `precision_support.FASTER`.
LEAST_TAU = 0.9

FLOAT32 = "float32"

#: Scores of one turn: seconds, and for each trial and number of steps the score of each pair.
Turn = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to compute the scores.

    Attributes:
        precision: precision of the configurations.
        around: returns the context of each call of the engine.
        halves: whether configurations run in two groups instead of one.
        timed: whether its time means something.
    """

    precision: str = FLOAT32
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    halves: bool = False
    timed: bool = False


def main(
    pair: PairsOption = None,
    size_px: Annotated[int, typer.Option(help="longer side of the results")] = SIZE_PX,
    configurations: Annotated[int, typer.Option(min=2, help="how many")] = CONFIGURATIONS,
    step: Annotated[
        list[int] | None, typer.Option(help="steps after which they are compared; repeatable")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="scores so far; a second start continues from them"),
    ] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Compare the ranking of configurations in each precision with that of float32."""
    steps = tuple(sorted(step)) if step else QUICK_STEPS if quick else STEPS
    count = QUICK_CONFIGURATIONS if quick else configurations
    device = default_device()
    ways, pairs = ways_of(device), pairs_from(pair, count=2)
    weights = weights_of_a_job()
    engine_pairs = [engine_pair(chosen, size_px) for chosen in pairs]
    engines = {
        name: Engine(engine_pairs, weights, device=device, metrics=(METRIC,)) for name in ways
    }
    together = max(1, LANES // len(pairs))
    configs = configurations_of(CATALOGUE["gram"], count, size_px=size_px, steps=steps[-1])
    described = {"pairs": [p.name for p in pairs], "size_px": size_px, "steps": list(steps)}
    turns = _kept(keep, described)
    with progress() as bar:
        for first in bar.track(range(0, count, together)):
            numbers = range(first, min(first + together, count))
            for name, way in ways.items():
                if (key := f"{name}: {numbers[0]} to {numbers[-1]}") not in turns:
                    chosen = {number: configs[number] for number in numbers}
                    turns[key] = turn(engines[name], way, chosen, steps)
                    _keep(keep, described, turns)
    taken = {name: [t for key, t in turns.items() if key.startswith(f"{name}: ")] for name in ways}
    rows = [
        row_of(name, way, taken, len(pairs), rung)
        for rung in steps
        for name, way in ways.items()
        if name != FLOAT32
    ]
    publish(
        "Precision and ranking",
        f"{count} configurations of the space `gram`, a Sobol sequence, at {size_px} px on the"
        f" pairs {' and '.join(p.name for p in pairs)}; {METRIC}. `tau`: Kendall's rank correlation"
        " with the float32 scores, of the mean over the pairs and of each pair; `regret`: by how"
        " much the configuration that is best in this way is worse in float32 than the best one;"
        " `× faster`: time of float32 over its time, the median of turns that alternate.",
        [Section(title="Ways", text=explained(ways), rows=rows)],
        goals=[
            Goal(
                name=f"tau of {row['way']}, {row['steps']} steps", value=row["tau"], goal=LEAST_TAU
            )
            for row in rows
        ],
        json_file=json_file,
    )


def ways_of(device: torch.device) -> dict[str, Way]:
    """Return the ways to compute scores on a device, by name; float32 is the first."""
    ways = {
        FLOAT32: Way(timed=True),
        "float32 again": Way(around=_direct_convolutions, halves=True),
    }
    if has_tf32(device):
        ways["tf32"] = Way(precision="tf32", timed=True)
    else:
        ways["tf32, emulated"] = Way(around=_emulated_tf32)
    if has_bfloat16(device):
        ways["bfloat16"] = Way(precision="bfloat16", timed=True)
    return ways


def explained(ways: Mapping[str, Way]) -> str:
    """Return a paragraph that says how the ways differ."""
    text = (
        "`float32 again` is float32 with another rounding: in smaller batches, and on CPUs with"
        " direct convolutions instead of Winograd's. It shows how much of a ranking depends on"
        " rounding, whatever the precision."
    )
    if "tf32, emulated" in ways:
        text += " `tf32, emulated` rounds the factors of all products and convolutions to TF32."
    if "bfloat16" not in ways:
        text += " This device computes no bfloat16."
    return text


def configurations_of(space: Space, count: int, **fixed: int) -> list[StyleConfig]:
    """Return configurations of a space at the first points of a Sobol sequence."""
    points = [planned_point("sobol", space, index, 0) for index in range(count)]
    return [space.build(point or {}, **fixed) for point in points]


def turn(
    engine: Engine, way: Way, configs: Mapping[int, StyleConfig], steps: Sequence[int]
) -> Turn:
    """Run configurations in one way; scores of those that fail are infinite."""
    before_s = engine.stats.advancing_s
    scores: dict[str, dict[str, list[float]]] = {str(number): {} for number in configs}
    numbers, half = list(configs), len(configs) // 2
    groups = [numbers[:half], numbers[half:]] if way.halves else [numbers]
    for group in groups:
        for number in group:
            config = configs[number].replace(precision=way.precision)
            engine.submit(number, config, *steps[:2])
        while engine.busy:
            with way.around():
                reports = engine.advance()
            for report in reports:
                trial = report.trial
                if report.failure:
                    for rung in steps:
                        scores[str(trial)].setdefault(str(rung), [])
                    continue
                of_pairs = [pair_scores[METRIC] for pair_scores in report.pair_scores]
                scores[str(trial)][str(report.steps)] = of_pairs
                later = [rung for rung in steps if rung > report.steps]
                if later:
                    config = configs[trial].replace(precision=way.precision)
                    engine.submit(trial, config, *later[:2])
                else:
                    engine.drop(trial)
    return {"seconds": engine.stats.advancing_s - before_s, "scores": scores}


def row_of(name: str, way: Way, taken: Mapping[str, Sequence[Turn]], pairs: int, steps: int) -> Row:
    """Return agreement, regret and speed of a way after a number of steps."""
    own, exact = (_scores(taken[which], pairs, steps) for which in (name, FLOAT32))
    means, exact_means = ([_mean(row) for row in table] for table in (own, exact))
    chosen = min(range(len(means)), key=means.__getitem__)
    row: Row = {
        "way": name,
        "steps": steps,
        "tau": _tau(means, exact_means),
        **{
            f"tau, pair {index + 1}": _tau([r[index] for r in own], [r[index] for r in exact])
            for index in range(pairs)
        },
        "regret": exact_means[chosen] - min(exact_means),
        "× faster": "",
    }
    if way.timed:
        both = zip(taken[FLOAT32], taken[name], strict=True)
        row["× faster"] = median(exact["seconds"] / own["seconds"] for exact, own in both)
    return row


def _scores(turns: Sequence[Turn], pairs: int, steps: int) -> list[list[float]]:
    """Return the scores of each pair, by number of the configuration."""
    merged = {int(n): rungs for t in turns for n, rungs in t["scores"].items()}
    return [merged[number][str(steps)] or [math.inf] * pairs for number in sorted(merged)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _tau(own: Sequence[float], exact: Sequence[float]) -> float:
    """Return Kendall's tau-b; equal scores, such as those of failures, count as ties."""
    return float(kendalltau(own, exact).statistic)


def _direct_convolutions() -> AbstractContextManager[object]:
    return mock.patch.object(winograd, "LEAST_TILES", sys.maxsize)


@contextmanager
def _emulated_tf32() -> Iterator[None]:
    """Compute products in TF32 and, as on GPUs, convolutions directly."""
    with _direct_convolutions(), Tf32Products():
        yield


def _kept(file: Path | None, described: Mapping[str, object]) -> dict[str, Turn]:
    """Return the turns that an earlier start has kept.

    Raises:
        InputError: the file has scores of other pairs, sizes or steps.
    """
    if file is None or not file.is_file():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    if content["of"] != described:
        raise InputError(f"--keep {file}: has scores of {content['of']}, not of {described}")
    turns: dict[str, Turn] = content["turns"]
    return turns


def _keep(file: Path | None, described: Mapping[str, object], turns: Mapping[str, Turn]) -> None:
    if file is not None:
        text = json.dumps({"of": described, "turns": turns})
        write_atomic(file, text.encode())


if __name__ == "__main__":
    run(main)
