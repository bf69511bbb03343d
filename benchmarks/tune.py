"""Time and steps until a good score is found: a search of ours against a fixed grid.

The grid is the way of the reports: every combination of a few values, each run to its full length,
one after another. Both look for the score that the search ends with, on the same pair, with the
same engine code, steps and size; the search knows nothing of the pair before.
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

#: A grid is given up after so many times what the search took: by then all is said. The quick form
#: has no time for as many.
GIVEN_UP, QUICK_GIVEN_UP = 11, 6

#: The grid, over the same ranges as the search. Of four values each, as in the reports, it ended
#: before it came near; this one is finer, and ends when it is given up.
LOG10_STYLE_CONTENT = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)
LR = (0.005, 0.01, 0.02, 0.035, 0.06, 0.11, 0.2)
STYLE_SCHEMES = ("equal", "shallow")
CONTENT_LAYERS = ("relu2_2", "relu4_2")


def main(
    pair: PairsOption = None,
    size_px: Annotated[int, typer.Option(help="longer side")] = SIZE_PX,
    trials: Annotated[int | None, typer.Option(help="of the search")] = None,
    max_steps: Annotated[int | None, typer.Option(help="full length of a run")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Time a search and a grid until they reach the search's best LPIPS."""
    trials = trials or (QUICK_TRIALS if quick else TRIALS)
    steps = QUICK_STEPS if quick else STEPS
    given_up = QUICK_GIVEN_UP if quick else GIVEN_UP
    steps = (steps[0], max_steps or steps[1])
    rows: list[Row] = []
    ratios: list[float] = []
    for one in pairs_from(pair, count=1 if quick else 2):
        err.print(f"{one.name}: the search")
        found = search(one, size_px, trials, steps)
        goal = min(found.scores)
        reached = found.until(goal)
        assert reached is not None
        err.print(f"{one.name}: the grid")
        tried = grid(one, size_px, steps[1], goal=goal, most_s=given_up * reached.seconds)
        rows += [
            row_of(one.name, "search", found, goal),
            row_of(one.name, "grid", tried, goal),
        ]
        ratios.append((tried.until(goal) or tried.total).seconds / reached.seconds)
    publish(
        "Search against a grid",
        f"{trials} trials of at most {steps[1]} steps at {size_px} px; `reached` is the first time"
        f" that the search's best LPIPS was there. A grid that is not there after {given_up} times"
        " as long is given up and counted with the time it took, so that its ratio is a lower"
        " bound. Start-up of the cluster counts.",
        [Section(title="Time to the same score", rows=rows)],
        goals=[
            Goal(name="times less time, of the least favourable pair", value=min(ratios), goal=10)
        ],
        json_file=json_file,
    )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds since the start and steps taken by all trials together."""

    seconds: float
    steps: int


@dataclass(frozen=True, kw_only=True)
class Course:
    """Scores in the order in which they came, and what had been spent when they did."""

    scores: Sequence[float]
    costs: Sequence[Cost]

    @property
    def total(self) -> Cost:
        """Of everything."""
        return self.costs[-1]

    def until(self, score: float) -> Cost | None:
        """What had been spent when a score was first reached; None if it never was."""
        return next((c for s, c in zip(self.scores, self.costs, strict=True) if s <= score), None)


def row_of(pair: str, way: str, course: Course, goal: float) -> Row:
    """One way on one pair."""
    reached = course.until(goal)
    return {
        "pair": pair,
        "way": way,
        "best lpips": min(course.scores),
        "seconds in all": course.total.seconds,
        "steps in all": course.total.steps,
        "reached": reached is not None,
        "seconds until": (reached or course.total).seconds,
        "steps until": (reached or course.total).steps,
    }


def search(pair: Pair, size_px: int, trials: int, steps: tuple[int, int]) -> Course:
    """A job as `nst-tuner launch` runs it."""
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
    return Course(scores=[report.objective for report in timeline.reports], costs=costs)


def grid(pair: Pair, size_px: int, steps: int, *, goal: float, most_s: float) -> Course:
    """Points run to their end, one after another, all cores on each, until the goal is reached."""
    weights = weights_of_a_job()
    started = time.perf_counter()
    store = FeatureStore(weights.__getitem__, default_device())
    judge = MetricSuite.load(weights.__getitem__, store.device)
    prepared = engine_pair(pair, size_px)
    scores, costs = [], []
    with progress() as bar:
        configs = list(grid_points(size_px, steps))
        for done, config in enumerate(bar.track(configs), 1):
            *_, last = advance(store, config, prepared.materials, every=steps)
            image = to_uint8(last.image_3HW)
            found = judge.score(image, prepared.reference_HW3, prepared.content_HW3)
            scores.append(found["lpips"])
            costs.append(Cost(seconds=time.perf_counter() - started, steps=done * steps))
            if scores[-1] <= goal or costs[-1].seconds > most_s:
                break
    return Course(scores=scores, costs=costs)


def grid_points(size_px: int, steps: int) -> Iterator[StyleConfig]:
    """Points of the grid in an order that favours no corner."""
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
