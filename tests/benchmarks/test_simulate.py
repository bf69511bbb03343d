import math

import pytest

from benchmarks.support.simulate import Course, Event, simulate
from search_spaces import CATALOGUE, Choice, Float, Params, Space
from tuner.job.spec import RULES, JobSpec
from tuner.sampling.optuna_samplers import STARTUP
from tuner.sampling.sobol_grid import grid_size, planned_point
from tuner.transfer.curves import known_lengths, load_curves

SPACE = Space(**{**vars(CATALOGUE["gram"]), "initial_points": ()})
SAMPLERS = ("gp", "tpe", "random", "sobol", "grid", "cmaes", "nsga2")


def bowl(params: Params, steps: int) -> dict[str, float]:
    """A made-up score: a bowl in ratio and rate, better with steps."""
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


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("rule", RULES)
def test_every_sampler_with_every_rule(sampler: str, rule: str) -> None:
    """Each runs all trials, some of them to the end, and the same again with the same seed."""
    courses = [simulate(job(sampler, rule), SPACE, bowl, workers=4) for _ in range(2)]
    assert courses[0] == courses[1]
    events = courses[0].events
    assert {event.trial for event in events} == set(range(30))
    assert max(event.trial_steps for event in events) == 90
    if rule == "none":
        assert events[-1].steps == 30 * 90
    else:
        assert events[-1].steps < 30 * 90


def test_finals_run_their_finalists() -> None:
    """A final is looked up with the parameters of its finalist."""
    asked: list[Params] = []

    def scores(params: Params, steps: int) -> dict[str, float]:
        asked.append(params)
        return bowl(params, steps)

    simulate(job(trials=9, finals={"count": 2, "seeds": 1}), SPACE, scores)
    assert all("lr" in params for params in asked)


def test_what_diverges_is_never_best() -> None:
    """A first report that is no number neither wins nor hides what comes after it."""
    course = Course(
        events=[
            Event(steps=i, trial=i, trial_steps=1, value=value)
            for i, value in enumerate((math.nan, 0.5, 0.7))
        ]
    )
    assert course.best_by(0) == math.inf
    assert course.best_by(2) == 0.5
    assert simulate(job(), SPACE, lambda *_: {"lpips": math.nan}).best_by(math.inf) == math.inf


def test_a_range_of_one_value_is_searched() -> None:
    """Every sampler draws from a space with a number that cannot vary."""
    pinned = Float(low=0.05, high=0.05, log=True)
    space = Space(**{**vars(SPACE), "params": {**SPACE.params, "lr": pinned}})
    for sampler in SAMPLERS:
        seen = set[object]()

        def scores(params: Params, steps: int, seen: set[object] = seen) -> dict[str, float]:
            seen.add(params["lr"])
            return bowl(params, steps)

        simulate(job(sampler, trials=12), space, scores, lengths={"log10 lr": 0.5})
        assert seen == {0.05}


def test_a_search_draws_by_known_lengths() -> None:
    """What is known of parameters changes what the default draws, but of several objectives."""
    known = known_lengths(load_curves())

    def drawn(**parts: object) -> list[list[Event]]:
        one = job("gp", **parts)
        return [simulate(one, SPACE, bowl, lengths=lengths).events for lengths in (None, known)]

    cold, warm = drawn()
    assert cold[:STARTUP] == warm[:STARTUP] and cold != warm
    cold, warm = drawn(objective=["lpips", "seconds_per_image"])
    assert cold == warm


def test_a_grid_has_no_point_twice() -> None:
    """Levels of what has no meaning at a point, or has one value, make no more points of it."""
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
    """However large, the points of a grid are made one by one, and none comes twice."""
    space = CATALOGUE[name]
    count = min(grid_size(space), 300)
    points = {str(planned_point("grid", space, index, 7)) for index in range(count)}
    assert len(points) == count


def test_lower_is_better_whatever_the_metric() -> None:
    """Where higher is better, values are turned: the best is the lowest."""

    def scores(params: Params, steps: int) -> dict[str, float]:
        return {"ssim": 1 - bowl(params, steps)["lpips"] / 9}

    course = simulate(job(objective="ssim"), SPACE, scores)
    assert course.best_by(math.inf) == min(event.value for event in course.events) < 0


@pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2", "random"])
def test_several_objectives_on_the_clock(sampler: str) -> None:
    """A Pareto search runs with samplers that know several objectives, and with any."""
    both = job(sampler, objective=["lpips", "seconds_per_image"])
    course = simulate(both, SPACE, bowl, workers=3)
    assert {event.trial for event in course.events} == set(range(30))


@pytest.mark.parametrize("learning", ["gp", "tpe"])
def test_learning_beats_chance(learning: str) -> None:
    """With the same steps better configurations of a smooth score are found than by chance."""
    budget = {"budget": {"engine_seconds": 3000.0}}

    def best(sampler: str) -> float:
        courses = [
            simulate(
                job(sampler, trials=1000, **budget).model_copy(
                    update={
                        "search": job(sampler, trials=1000).search.model_copy(update={"seed": s})
                    }
                ),
                SPACE,
                bowl,
                workers=4,
            )
            for s in range(5)
        ]
        return sum(course.best_by(math.inf) for course in courses)

    assert best(learning) < best("random")


def test_more_workers_take_less_time() -> None:
    """The virtual clock counts: eight workers end several times as early as one."""
    alone, many = (simulate(job(rule="none"), SPACE, bowl, workers=w) for w in (1, 8))
    assert alone.end_s == alone.busy_s == 30 * 90
    assert many.end_s == pytest.approx(alone.end_s / 8, rel=0.1)


def test_a_course_knows_what_was_reached_when() -> None:
    """Best so far by steps, and steps until a score."""
    course = simulate(job("random"), SPACE, bowl)
    assert isinstance(course, Course)
    assert course.best_by(0) == math.inf
    best = course.best_by(math.inf)
    assert course.best_by(course.steps_until(best)) == best
    assert course.steps_until(-1.0) == math.inf
