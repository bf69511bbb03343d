"""Simulated searches, and the samplers and rules that they run."""

import math

import pytest

from benchmarks.support.simulate import Event, SearchTrace, simulate
from search_spaces import CATALOGUE, Choice, Float, Params, Space
from tuner.job.spec import RULES, JobSpec
from tuner.sampling.sobol_grid import grid_size, planned_point

SPACE = Space(**{**vars(CATALOGUE["gram"]), "initial_points": ()})
#: A space in which a draw of the Gaussian process takes a tenth of the time.
NUMBERS = Space(
    name="numbers",
    why="Without choices.",
    params={
        "log10_style_content": Float(low=-2, high=3),
        "lr": Float(low=0.005, high=0.5, log=True),
        "tv_weight": Float(low=1, high=1000, log=True),
    },
)
SAMPLERS = ("gp", "tpe", "random", "sobol", "grid", "cmaes", "nsga2")


def bowl(params: Params, steps: int) -> dict[str, float]:
    """Return an artificial score with one minimum in ratio and rate, better with more steps."""
    ratio, lr = float(params["log10_style_content"]), float(params["lr"])
    return {"lpips": abs(ratio - 0.3) + abs(math.log10(lr / 0.05)) + 1 / steps}


def job(sampler: str = "tpe", rule: str = "promote", trials: int = 30, **parts: object) -> JobSpec:
    content: dict[str, object] = {
        "name": "simulated",
        "pairs": [{"content": "-", "style": "-", "reference": "-"}],
        "search": {"trials": trials, "presets": False, "sampler": sampler},
        "halving": {"min_steps": 10, "max_steps": 90, "rule": rule},
        "finals": {"count": 0},
        **parts,
    }
    return JobSpec.model_validate(content)


@pytest.mark.parametrize(
    ("sampler", "rule"),
    # One rule is enough for the Gaussian process, which takes a second for each draw in this space.
    [(s, r) for s in SAMPLERS for r in RULES if s != "gp" or r == "promote"],
)
def test_every_sampler_works_with_every_rule(sampler: str, rule: str) -> None:
    """All trials run, some of them to the end, and the same seed gives the same search."""
    space = NUMBERS if sampler == "gp" else SPACE
    traces = [simulate(job(sampler, rule), space, bowl, workers=4) for _ in range(2)]
    assert traces[0] == traces[1]
    events = traces[0].events
    assert {event.trial for event in events} == set(range(30))
    assert max(event.trial_steps for event in events) == 90
    if rule == "none":
        assert events[-1].steps == 30 * 90
    else:
        assert events[-1].steps < 30 * 90


def test_finals_use_the_parameters_of_finalists() -> None:
    """The scores of a final are those of its finalist's parameters."""
    requested: list[Params] = []

    def scores(params: Params, steps: int) -> dict[str, float]:
        requested.append(params)
        return bowl(params, steps)

    simulate(job(trials=9, finals={"count": 2, "seeds": 1}), SPACE, scores)
    assert all("lr" in params for params in requested)


def test_a_diverged_trial_is_never_the_best() -> None:
    """A score that is not a number is never the best one and does not hide later ones."""
    trace = SearchTrace(
        events=[
            Event(steps=i, trial=i, trial_steps=1, value=value)
            for i, value in enumerate((math.nan, 0.5, 0.7))
        ]
    )
    assert trace.best_by(0) == math.inf
    assert trace.best_by(2) == 0.5
    assert simulate(job(), SPACE, lambda *_: {"lpips": math.nan}).best_by(math.inf) == math.inf


def test_a_range_may_have_one_value() -> None:
    """Every sampler works with a parameter whose range is a single value."""
    pinned = Float(low=0.05, high=0.05, log=True)
    space = Space(**{**vars(SPACE), "params": {**SPACE.params, "lr": pinned}})
    for sampler in SAMPLERS:
        seen = set[object]()

        def scores(params: Params, steps: int, seen: set[object] = seen) -> dict[str, float]:
            seen.add(params["lr"])
            return bowl(params, steps)

        simulate(job(sampler, trials=12), space, scores)
        assert seen == {0.05}


def test_a_grid_has_no_duplicate_points() -> None:
    """Parameters that are inactive or have one value do not multiply the points of a grid."""
    space = Space(
        name="some",
        why="-",
        params={
            "tv": Choice(options=("off", "on")),
            "tv_weight": Float(low=1, high=9, when={"tv": ("on",)}),
            "lr": Float(low=0.05, high=0.05),
            "log10_style_content": Float(low=0, high=1),
        },
    )
    assert grid_size(space) == 3 + 3 * 3
    points = [str(planned_point("grid", space, index, 3)) for index in range(24)]
    assert len(set(points[:12])) == 12 and points[:12] == points[12:]


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_grids_of_named_spaces(name: str) -> None:
    """The points of a grid of any size are computed one by one, without duplicates."""
    space = CATALOGUE[name]
    count = min(grid_size(space), 300)
    points = {str(planned_point("grid", space, index, 7)) for index in range(count)}
    assert len(points) == count


def test_lower_values_are_better_for_every_metric() -> None:
    """Values of a metric for which higher is better are negated."""

    def scores(params: Params, steps: int) -> dict[str, float]:
        return {"ssim": 1 - bowl(params, steps)["lpips"] / 9}

    trace = simulate(job(objective="ssim"), SPACE, scores)
    assert trace.best_by(math.inf) == min(event.value for event in trace.events) < 0


@pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2", "random"])
def test_searches_with_several_objectives(sampler: str) -> None:
    """A search with two objectives runs with every sampler."""
    both = job(sampler, trials=14, objective=["lpips", "seconds_per_image"])
    trace = simulate(both, NUMBERS, bowl, workers=3)
    assert {event.trial for event in trace.events} == set(range(14))


@pytest.mark.parametrize("learning", ["gp", "tpe"])
def test_learning_samplers_beat_random_search(learning: str) -> None:
    """Learning samplers find better configurations than random search in as many steps."""
    budget = {"budget": {"engine_seconds": 900.0}}

    def best(sampler: str) -> float:
        traces = [
            simulate(
                job(sampler, trials=1000, **budget).model_copy(
                    update={
                        "search": job(sampler, trials=1000).search.model_copy(update={"seed": s})
                    }
                ),
                NUMBERS,
                bowl,
                workers=4,
            )
            for s in range(2)
        ]
        return sum(trace.best_by(math.inf) for trace in traces)

    assert best(learning) < best("random")


def test_more_workers_take_less_time() -> None:
    """Eight workers need about an eighth of the time of one worker."""
    one, eight = (simulate(job(rule="none"), SPACE, bowl, workers=w) for w in (1, 8))
    assert one.end_s == one.busy_s == 30 * 90
    assert eight.end_s == pytest.approx(one.end_s / 8, rel=0.1)


def test_a_trace_has_the_best_value_by_steps() -> None:
    """`best_by` and `steps_until` are consistent with each other."""
    trace = simulate(job("random"), SPACE, bowl)
    assert isinstance(trace, SearchTrace)
    assert trace.best_by(0) == math.inf
    best = trace.best_by(math.inf)
    assert trace.best_by(trace.steps_until(best)) == best
    assert trace.steps_until(-1.0) == math.inf
