"""Time and steps until a good score: a search against a fixed grid.

Command: ``python -m benchmarks.tune``. The grid follows published comparisons: it runs every
combination of a few values to its full length, one after another. The goal of both is the final
score of the search, on the same pair, with the same code, steps and size. The search has no
knowledge about the pair.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from benchmarks.support.common import (
    Goal,
    JsonOption,
    Pair,
    PairsOption,
    QuickOption,
    Row,
    Section,
    err,
    pairs_from,
    progress,
    publish,
    run,
)
from benchmarks.support.runs import (
    Timeline,
    engine_pair,
    on_ray,
    scratch_search,
    weights_of_a_job,
    workload_of,
)
from nst_core.config import StyleConfig
from nst_core.images.tensors import to_uint8
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.suite import MetricSuite
from nst_core.stylization import advance, default_device
from search_spaces import CATALOGUE, Params

SIZE_PX = 96
TRIALS, QUICK_TRIALS = 64, 12
STEPS, QUICK_STEPS = (10, 270), (10, 30)

#: The grid stops after this multiple of the search's time, which is enough for the goal of 10.
GIVEN_UP, QUICK_GIVEN_UP = 11, 6

#: Values of the grid, over the same ranges as the search. A grid of four values each, as in
#: published comparisons, ended before it came close to the goal; this one is finer.
LOG10_STYLE_CONTENT = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)
LR = (0.005, 0.01, 0.02, 0.035, 0.06, 0.11, 0.2)
STYLE_SCHEMES = ("equal", "shallow")
CONTENT_LAYERS = ("relu2_2", "relu4_2")


def main(
    pair: PairsOption = None,
    size_px: Annotated[int, typer.Option(help="longer side")] = SIZE_PX,
    trials: Annotated[int | None, typer.Option(help="trials of the search")] = None,
    max_steps: Annotated[int | None, typer.Option(help="full length of a run")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Measure a search and a grid until they reach the best LPIPS of the search."""
    trials = trials or (QUICK_TRIALS if quick else TRIALS)
    steps = QUICK_STEPS if quick else STEPS
    given_up = QUICK_GIVEN_UP if quick else GIVEN_UP
    steps = (steps[0], max_steps or steps[1])
    rows: list[Row] = []
    ratios: list[float] = []
    for chosen_pair in pairs_from(pair, count=1 if quick else 2):
        err.print(f"{chosen_pair.name}: the search")
        search_trace = search(chosen_pair, size_px, trials, steps)
        goal = min(search_trace.scores)
        reached = search_trace.until(goal)
        assert reached is not None
        err.print(f"{chosen_pair.name}: the grid")
        grid_trace = grid(
            chosen_pair, size_px, steps[1], goal=goal, max_s=given_up * reached.seconds
        )
        rows += [
            row_of(chosen_pair.name, "search", search_trace, goal),
            row_of(chosen_pair.name, "grid", grid_trace, goal),
        ]
        ratios.append((grid_trace.until(goal) or grid_trace.total).seconds / reached.seconds)
    publish(
        "Search against a grid",
        f"{trials} trials of at most {steps[1]} steps at {size_px} px; `reached` is when the"
        f" best LPIPS of the search was first reached. A grid that has not reached it after"
        f" {given_up} times as long stops, so its ratio is a lower bound. The start-up of the"
        " cluster counts.",
        [Section(title="Time to the same score", rows=rows)],
        goals=[
            Goal(name="times less time, of the least favorable pair", value=min(ratios), goal=10)
        ],
        json_file=json_file,
    )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds since the start and steps taken by all trials together."""

    seconds: float
    steps: int


@dataclass(frozen=True, kw_only=True)
class SearchTrace:
    """Scores in order of time, and the cost up to each of them."""

    scores: Sequence[float]
    costs: Sequence[Cost]

    @property
    def total(self) -> Cost:
        """Cost of the whole search."""
        return self.costs[-1]

    def until(self, score: float) -> Cost | None:
        """Return the cost until a score was first reached, or None."""
        return next((c for s, c in zip(self.scores, self.costs, strict=True) if s <= score), None)


def row_of(pair: str, way: str, trace: SearchTrace, goal: float) -> Row:
    """Return the table row of a search or a grid on one pair."""
    reached = trace.until(goal)
    return {
        "pair": pair,
        "way": way,
        "best lpips": min(trace.scores),
        "seconds in all": trace.total.seconds,
        "steps in all": trace.total.steps,
        "reached": reached is not None,
        "seconds until": (reached or trace.total).seconds,
        "steps until": (reached or trace.total).steps,
    }


def search(pair: Pair, size_px: int, trials: int, steps: tuple[int, int]) -> SearchTrace:
    """Run a job like `nst-tuner launch`."""
    timeline = Timeline()
    workload = workload_of(pair, size_px)
    started = time.perf_counter()
    with scratch_search(
        CATALOGUE["gram"], timeline, trials=trials, steps=steps, size_px=size_px
    ) as (made, job):
        on_ray(made, job, workload)
    costs, at = [], dict.fromkeys(timeline.began_s, 0)
    for report in timeline.reports:
        at[report.trial] = report.steps
        costs.append(Cost(seconds=report.at_s - started, steps=sum(at.values())))
    return SearchTrace(scores=[report.objective for report in timeline.reports], costs=costs)


def grid(pair: Pair, size_px: int, steps: int, *, goal: float, max_s: float) -> SearchTrace:
    """Run grid points one after another, each on all cores, until the goal or the time limit."""
    weights = weights_of_a_job()
    started = time.perf_counter()
    store = FeatureStore(weights.__getitem__, default_device())
    suite = MetricSuite.load(weights.__getitem__, store.device)
    prepared = engine_pair(pair, size_px)
    scores, costs = [], []
    with progress() as bar:
        configs = list(grid_points(size_px, steps))
        for done, config in enumerate(bar.track(configs), 1):
            *_, last = advance(store, config, prepared.inputs, every=steps)
            image = to_uint8(last.image_3HW)
            image_scores = suite.score(image, prepared.reference_HW3, prepared.content_HW3)
            scores.append(image_scores["lpips"])
            costs.append(Cost(seconds=time.perf_counter() - started, steps=done * steps))
            if scores[-1] <= goal or costs[-1].seconds > max_s:
                break
    return SearchTrace(scores=scores, costs=costs)


def grid_points(size_px: int, steps: int) -> Iterator[StyleConfig]:
    """Yield the points of the grid in random order."""
    axes = (LOG10_STYLE_CONTENT, LR, STYLE_SCHEMES, CONTENT_LAYERS)
    points = list(itertools.product(*axes))
    random.Random(0).shuffle(points)
    space = CATALOGUE["gram"]
    for ratio, lr, scheme, content_layer in points:
        params: Params = {
            "log10_style_content": ratio,
            "lr": lr,
            "style_set": "relu1_1-5_1",
            "style_scheme": scheme,
            "content_layer": content_layer,
            "tv": "off",
            "init": "content",
        }
        yield space.build(params, size_px=size_px, steps=steps)


if __name__ == "__main__":
    run(main)
