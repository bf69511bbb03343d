"""One search of `benchmarks.live`, carried out on the engine in this process."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite, nan
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.support.common import Pair, machine
from benchmarks.support.live_cases import Best, Case, CaseResult
from benchmarks.support.live_pairs import PairSource, load_pair
from benchmarks.support.live_ways import STOCK, space_of
from benchmarks.support.runs import Timeline, scratch_search, with_starts
from benchmarks.support.stock import simulate_stock
from nst_core.config import StyleConfig
from nst_core.errors import WorkError
from nst_core.images.tensors import to_uint8
from nst_core.lanes.initialization import feed_forward_start
from nst_core.losses.inputs import LossInputs, Style
from nst_core.metrics.registry import DEFAULT_METRICS, weights_of
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.weights import get_weights
from nst_core.stylization import default_device
from search_spaces import Params, Space
from tuner.engine import pairs as engine_pairs
from tuner.engine.engine import Engine
from tuner.engine.workload import Workload
from tuner.run.inline_backend import InlineBackend
from tuner.search.interrupt import Interrupt
from tuner.search.protocol import Plan
from tuner.study.records import Report, RungRecord


class Trace:
    """The lowest LPIPS of a search over the steps of all its trials, within a budget.

    Args:
        budget: number of steps; later reports do not count, except the first one of all.
    """

    def __init__(self, budget: int):
        self._budget = budget
        self._points: list[tuple[int, float]] = []
        self._last = 0
        self._best = (inf, -1, 0)  # LPIPS, number of the trial, its steps

    def add(self, spent: int, value: float, trial: int, steps: int) -> None:
        """Add a report.

        Args:
            spent: steps of all trials.
            value: LPIPS of the report.
            trial: number of the trial.
            steps: steps of the trial.
        """
        if not isfinite(value) or (spent > self._budget and self._points):
            return
        value = round(value, 4)
        self._last = spent
        if value < self._best[0]:
            self._best = (value, trial, steps)
            self._points.append((spent, value))

    def points(self) -> list[tuple[int, float]]:
        """Return the points where the best improved, and the last one."""
        last = (self._last, self._best[0])
        return self._points if self._points[-1:] == [last] else [*self._points, last]

    def best_report(self, config_of: Callable[[int], Mapping[str, Any]]) -> Best:
        """Return the best report.

        Args:
            config_of: returns all settings of a trial by its number.

        Raises:
            WorkError: no trial reported a score.
        """
        lpips, trial, steps = self._best
        if trial < 0:
            raise WorkError("all trials of a search failed; look at one with `nst-tuner stylize`")
        return Best(lpips=lpips, trial=trial, steps=steps, config=config_of(trial))


class _StepBudget(Timeline):
    """A callback that ends its search after a number of steps of all trials."""

    def __init__(self, budget: int):
        super().__init__()
        self._budget, self._taken = budget, dict[int, int]()
        self.trace = Trace(budget)
        self._plans: dict[int, Plan] = {}
        self.interrupt: Interrupt | None = None

    @property
    def trials(self) -> int:
        """Number of trials that reported or failed."""
        return len(self._taken)

    def config(self, trial: int) -> Mapping[str, Any]:
        """Return all settings of a trial."""
        return self._plans[trial].config.to_dict()

    def planned(self, plan: Plan, preset: str | None) -> None:
        """See `Callback`."""
        super().planned(plan, preset)
        self._plans[plan.trial] = plan

    def reported(self, trial: int, steps: int, rung: RungRecord) -> None:
        """See `Callback`."""
        super().reported(trial, steps, rung)
        self._count(trial, steps)
        self.trace.add(sum(self._taken.values()), rung.objective, trial, steps)

    def ended(self, trial: int, state: str, reason: str | None) -> None:
        """See `Callback`."""
        super().ended(trial, state, reason)
        if state == "failed":  # its steps to the next rung count, as in searches of stock Ray Tune
            self._count(trial, self._plans[trial].next_rung(self._taken.get(trial, 0)))

    def _count(self, trial: int, steps: int) -> None:
        self._taken[trial] = steps
        if self.interrupt and sum(self._taken.values()) >= self._budget:
            self.interrupt.stopping = True


class _Stylizer:
    """Computes scores of configurations on request; NaN after a failure."""

    def __init__(self, workload: Workload, space: Space, case: Case):
        self._engine = Engine(workload.pairs, workload.weights, device=default_device())
        self._space, self._case = space, case
        self._numbers: dict[tuple[object, ...], int] = {}
        self._known: dict[tuple[int, int], Mapping[str, float]] = {}
        self._failed: set[int] = set()

    def config(self, params: Params) -> StyleConfig:
        """Return all settings of a configuration."""
        return self._space.build(params, size_px=self._case.size_px, steps=self._case.steps[1])

    def __call__(self, params: Params, steps: int) -> Mapping[str, float]:
        """Return the scores of a configuration after some steps."""
        number = self._numbers.setdefault(tuple(params.items()), len(self._numbers))
        if (number, steps) not in self._known and number not in self._failed:
            self._engine.submit(number, self.config(params), steps, None)
            reports: Sequence[Report] = ()
            while not reports:
                reports = self._engine.advance()
            if reports[0].failure is not None:
                self._failed.add(number)
            self._known[number, steps] = reports[0].scores
        return {"lpips": nan} if number in self._failed else self._known[number, steps]

    def drop(self, params: Params) -> None:
        """Free the memory of a trial that has ended; it may never have begun to compute."""
        if (key := tuple(params.items())) in self._numbers:
            self._engine.drop(self._numbers[key])


def run_case(source: PairSource, case: Case) -> CaseResult:
    """Run one search in this process until its trials have taken the steps of its budget."""
    began_s = time.perf_counter()
    workload = workload_of(load_pair(source), space_of(case.way), case.size_px)
    search = _of_stock if case.way.sampler == STOCK else _of_ours
    trace, best, trials = search(case, workload)
    return CaseResult(
        case=case,
        trace=trace.points(),
        best=best,
        untouched=round(untouched(workload), 4),
        stlpips=round(shift_tolerant(workload, best), 4),
        trials=trials,
        seconds=round(time.perf_counter() - began_s, 1),
        machine=machine(),
    )


def workload_of(pair: Pair, space: Space, size_px: int) -> Workload:
    """Return the workload of one pair, with all that the space may need."""
    starts = {}
    if "feed_forward" in space.may_set("init"):
        styles = [Style(image_3HW=pair.style_3HW)]
        starts["feed_forward"] = feed_forward_start(pair.content_3HW, styles, size_px)
    inputs = LossInputs.at_size(pair.content_3HW, [(pair.style_3HW, 1.0)], size_px, starts)
    reference_HW3 = to_uint8(pair.reference(size_px))
    needed = {"vgg16", *weights_of(DEFAULT_METRICS), *space.may_set("extractor")}
    return Workload(
        pairs=[engine_pairs.Pair(inputs=inputs, reference_HW3=reference_HW3)],
        weights={name: get_weights(name) for name in sorted(needed)},
    )


def stylized(
    workload: Workload, config: Mapping[str, Any], steps: int
) -> tuple[np.ndarray, Mapping[str, float]]:
    """Return the result of a configuration after some steps, uint8 HW3, and its scores.

    Args:
        workload: one pair.
        config: all settings.
        steps: number of steps.

    Raises:
        WorkError: the configuration failed.
    """
    engine = Engine(workload.pairs, workload.weights, device=default_device())
    engine.submit(0, StyleConfig.from_dict(config, "the best configuration"), steps)
    reports: Sequence[Report] = ()
    while not reports:
        reports = engine.advance()
    if reports[0].failure:
        raise WorkError(f"the best configuration of a search failed again: {reports[0].failure}")
    picture = Image.open(io.BytesIO(engine.images(0)[0])).convert("RGB")
    return np.asarray(picture), reports[0].scores


def shift_tolerant(workload: Workload, best: Best) -> float:
    """Return ST-LPIPS of the best report of a search, whose picture is computed again."""
    picture_HW3, _ = stylized(workload, best.config, best.steps)
    suite = MetricSuite.load(get_weights, default_device(), metrics=["stlpips"])
    return suite.score(picture_HW3, workload.pairs[0].reference_HW3)["stlpips"]


def untouched(workload: Workload) -> float:
    """Return the LPIPS of the untouched photo of a workload's pair."""
    suite = MetricSuite.load(workload.weights.__getitem__, default_device())
    return engine_pairs.baseline_scores(workload.pairs, suite)[0]["content"]["lpips"]


def _of_ours(case: Case, workload: Workload) -> tuple[Trace, Best, int]:
    space, way = space_of(case.way), case.way
    watch = _StepBudget(case.budget)
    search_run = scratch_search(
        space,
        watch,
        trials=case.budget // case.rungs[0],  # more trials than the budget allows
        steps=case.rungs,
        size_px=case.size_px,
        lanes=case.lanes,
        sampler=way.sampler,
        seed=case.seed,
        reduction=way.reduction,
        starts=space.initial_points if case.starts else (),
    )
    with search_run as (search, job):
        watch.interrupt = search.interrupt
        InlineBackend().run(search, workload, job)
    return watch.trace, watch.trace.best_report(watch.config), watch.trials


def _of_stock(case: Case, workload: Workload) -> tuple[Trace, Best, int]:
    space = space_of(case.way)
    space = space if case.starts else with_starts(space)
    stylizer, params_of = _Stylizer(workload, space, case), dict[int, Params]()

    def ended(trial: int, params: Params) -> None:
        params_of[trial] = params
        stylizer.drop(params)

    results = simulate_stock(
        space,
        stylizer,
        trials=case.budget // case.rungs[0],
        steps=case.rungs,
        reduction=case.way.reduction,
        workers=case.lanes,
        seed=case.seed,
        upto=case.budget,
        ended=ended,
    )
    trace = Trace(case.budget)
    for event in results.events:
        trace.add(event.steps, event.value, event.trial, event.trial_steps)
    best = trace.best_report(lambda trial: stylizer.config(params_of[trial]).to_dict())
    return trace, best, len({event.trial for event in results.events})
