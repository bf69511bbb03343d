"""What the Gaussian process proposes."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import check_grad
from scipy.stats import norm
from threadpoolctl import threadpool_info, threadpool_limits

from search_spaces import CATALOGUE, Choice, Float, Int, Params, Space
from tuner.sampling import gaussian_process as surrogate
from tuner.sampling import gp_sampler as gp
from tuner.sampling.encoding import point_at, shares_of, whole_shares
from tuner.sampling.gaussian_process import GaussianProcess, Kernel, fitted_kernel
from tuner.sampling.gp_sampler import (
    MOST_SEEN,
    STARTUP,
    Observation,
    _thinned,
    log_improvement,
    propose,
)
from tuner.sampling.sobol_grid import planned_point

STEPS = (10, 30, 90)
PLANE = Space(
    name="plane",
    why="Two numbers.",
    params={"lr": Float(low=0.01, high=1.0, log=True), "tv_weight": Float(low=0.0, high=1.0)},
)


def bowl(params: Params, steps: int) -> float:
    """Lowest at lr 0.1 and tv_weight 0.7, better with steps."""
    lr, tv = float(params["lr"]), float(params["tv_weight"])
    return (math.log10(lr) + 1) ** 2 + (tv - 0.7) ** 2 + 3 / steps


def told(params: Params, upto: int, score: Callable[[Params, int], float] = bowl) -> Observation:
    steps = [s for s in STEPS if s <= upto]
    return Observation(
        params=params,
        values={s: (0.0, score(params, s)) for s in steps},
        violations={s: [] for s in steps},
    )


def sobol(space: Space, count: int) -> list[Params]:
    points = [planned_point("sobol", space, index, 0) for index in range(count)]
    return [point for point in points if point is not None]


def asked(space: Space, tried: Sequence[Observation], **more: object) -> Params | None:
    return propose(space, tried, **{"max_steps": 90, "index": len(tried), "seed": 0, **more})  # type: ignore[arg-type]


def proposed(space: Space, tried: Sequence[Observation], **more: object) -> Params:
    point = asked(space, tried, **more)
    assert point is not None
    return point


def test_nothing_is_proposed_while_there_is_too_little_to_learn_from() -> None:
    """That takes enough trials that have reported or failed, one of them with a value."""
    known = [told(one, 90) for one in sobol(PLANE, STARTUP)]
    assert [asked(PLANE, known[:count]) for count in range(STARTUP)] == [None] * STARTUP
    assert asked(PLANE, known) is not None
    failed = [
        Observation(params=one.params, values={}, violations={}, failed=True) for one in known
    ]
    assert asked(PLANE, failed) is None
    assert asked(PLANE, [*failed[1:], known[0]]) is not None


def test_it_finds_the_bottom_from_trials_that_were_stopped() -> None:
    """None of them took more than a third of the steps, and the bottom was not among them."""
    points = [p for p in sobol(PLANE, 40) if abs(math.log10(float(p["lr"])) + 1) > 0.15][:20]
    found = proposed(PLANE, [told(point, (10, 30)[i % 2]) for i, point in enumerate(points)])
    assert bowl(found, 90) < min(bowl(point, 90) for point in points)
    assert bowl(found, 90) - 3 / 90 < 0.02


def test_steps_are_told_apart() -> None:
    """What is poor because it was stopped early is not taken for poor."""

    def late(params: Params, steps: int) -> float:
        """Many steps are worth more than any difference between configurations."""
        return 0.1 * bowl(params, 90) + 100 / steps

    points = sobol(PLANE, 24)
    # Those near the bottom have taken few steps, and look worst.
    ranked = sorted(points, key=lambda point: bowl(point, 90))
    known = [told(p, 10, late) for p in ranked[:8]] + [told(p, 90, late) for p in ranked[8:]]
    assert bowl(proposed(PLANE, known), 90) < bowl(ranked[4], 90)


def test_proposals_keep_away_from_trials_under_way() -> None:
    """Those of several draws at a time lie further apart if each is told of those before it."""

    def apart(pending: bool) -> float:
        known, shares = [told(point, 30) for point in sobol(PLANE, STARTUP)], []
        for index in range(100, 106):
            point = proposed(PLANE, known, index=index)
            shares.append(np.array(list(shares_of(PLANE, point).values())))
            known.append(Observation(params=point, values={}, violations={}, pending=pending))
        return float(np.median([np.linalg.norm(a - b) for a, b in combinations(shares, 2)]))

    assert apart(pending=True) > 3 * apart(pending=False)


def test_what_is_always_stopped_is_not_proposed_for_ever() -> None:
    """A place that looks slow but sure is left, if whatever begins there is stopped at once."""

    def slow(params: Params) -> bool:
        return float(params["tv_weight"]) > 0.5

    def one(params: Params, upto: int) -> Observation:
        """Poor at first and the best of all in the end, or the same all along."""
        return told(params, upto, lambda p, steps: 3 - steps / 30 if slow(p) else bowl(p, 90))

    points = sobol(PLANE, 16)
    lucky = next(point for point in points if slow(point))
    known = [one(p, 10 if slow(p) and p is not lucky else 90) for p in points]
    drawn = []
    for index in range(100, 112):
        drawn.append(proposed(PLANE, known, index=index))
        known.append(one(drawn[-1], 10 if slow(drawn[-1]) else 90))
    assert sum(map(slow, drawn)) <= len(drawn) / 2


def test_nothing_is_run_twice() -> None:
    """In a space of few points none is proposed again, until there is no other."""
    few = Space(
        name="few",
        why="Forty-two points.",
        params={
            "warmup_steps": Int(low=0, high=20),
            "pooling": Choice(options=("max", "average")),
        },
    )
    points = [
        {"warmup_steps": steps, "pooling": how}
        for steps in (0, 1, 10, 20)
        for how in ("max", "average")
    ]

    def score(params: Params, steps: int) -> float:
        return abs(int(params["warmup_steps"]) - 12) + 0.1 * (params["pooling"] == "max")

    known = [told(point, 90, score) for point in points]
    for index in range(30):
        known.append(told(proposed(few, known, index=index), 90, score))
    assert len({tuple(sorted(one.params.items())) for one in known}) == len(known)


def test_the_same_trials_lead_to_the_same_proposal() -> None:
    """A draw depends on trials, seed and index alone."""
    known = [told(point, 90) for point in sobol(PLANE, 12)]
    assert proposed(PLANE, known) == proposed(PLANE, known)
    assert proposed(PLANE, known) != proposed(PLANE, known, seed=1)


def test_what_went_wrong_is_kept_away_from() -> None:
    """Where trials failed without a report none is proposed, though nothing is poor there."""

    def flat(params: Params, steps: int) -> float:
        return 0.1 * float(params["tv_weight"])

    points = sobol(PLANE, 24)
    failed = [p for p in points if float(p["lr"]) > 0.3]
    known = [told(p, 90, flat) for p in points if p not in failed]
    known += [Observation(params=p, values={}, violations={}, failed=True) for p in failed]
    rates = [float(proposed(PLANE, known, index=100 + i)["lr"]) for i in range(4)]
    assert max(rates) < 0.3


def test_what_goes_wrong_late_is_not_tempting() -> None:
    """A rate that scores best at the first rung and then diverges is not tried over and over."""

    def one(params: Params) -> Observation:
        rate = float(params["lr"])
        if rate > 0.3:
            return Observation(
                params=params, values={10: (0.0, -rate)}, violations={10: []}, failed=True
            )
        return told(params, 90, lambda params, steps: 0.3 - rate)

    known = [one(point) for point in sobol(PLANE, 24)]
    rates = [float(proposed(PLANE, known, index=100 + i)["lr"]) for i in range(4)]
    assert max(rates) < 0.35


def test_constraints_are_kept() -> None:
    """The best of what keeps a bound is looked for, on its side of the bound."""

    def one(params: Params) -> Observation:
        over = 0.4 - float(params["tv_weight"])  # at least 0.4 is asked for
        value = float(params["tv_weight"])
        return Observation(
            params=params, values={90: (max(0.0, over), value)}, violations={90: [over]}
        )

    found = [proposed(PLANE, [one(p) for p in sobol(PLANE, 24)], index=i) for i in range(30, 34)]
    assert all(0.38 < float(point["tv_weight"]) < 0.6 for point in found)


def test_a_bound_that_few_break_at_the_end_is_kept() -> None:
    """A cost that grows with the steps is far below its bound in most reports, and still counts."""

    def one(params: Params, upto: int) -> Observation:
        """The best are those that take longest, up to 10 seconds where 5 are allowed."""
        cost = {s: (2 + 8 * float(params["tv_weight"])) * s / 90 for s in STEPS if s <= upto}
        values = {s: (max(0.0, c - 5), 1 - c / 10) for s, c in cost.items()}
        return Observation(
            params=params, values=values, violations={s: [c - 5] for s, c in cost.items()}
        )

    known = [one(p, 90 if i % 5 == 0 else 10) for i, p in enumerate(sobol(PLANE, 40))]
    assert 0 < sum(one.values[90][0] > 0 for one in known if 90 in one.values) < 8
    found = [proposed(PLANE, known, index=i) for i in range(40, 44)]
    assert max(2 + 8 * float(point["tv_weight"]) for point in found) < 5.5


def test_where_nothing_keeps_a_constraint_it_comes_first() -> None:
    """What breaks it least is gone beyond, whatever the objective says."""

    def one(params: Params) -> Observation:
        rate = math.log10(float(params["lr"]))
        return Observation(
            params=params, values={90: (max(0.0, rate + 1.9), -rate)}, violations={90: [rate + 1.9]}
        )

    known = [one(p) for p in sobol(PLANE, 32) if float(p["lr"]) > 0.05]
    assert float(proposed(PLANE, known)["lr"]) < 0.03


def test_several_objectives_are_weighed_anew_by_each_draw() -> None:
    """Proposals spread along the front between the best points of each objective."""

    def one(params: Params) -> Observation:
        tv, rate = float(params["tv_weight"]), math.log10(float(params["lr"])) + 1
        return Observation(
            params=params, values={90: (0.0, tv + rate**2, 1 - tv + rate**2)}, violations={90: []}
        )

    known = [one(p) for p in sobol(PLANE, 24)]
    found = [proposed(PLANE, known, index=i) for i in range(100, 108)]
    values = [float(point["tv_weight"]) for point in found]
    assert min(values) < 0.3 and max(values) > 0.7
    assert all(0.04 < float(point["lr"]) < 0.25 for point in found)


def test_what_is_given_stays() -> None:
    """A partial start is completed; what hangs on what is given is as well."""
    space = CATALOGUE["optimizers"]
    given = space.completed({"optimizer": "sgd"})
    known = [told(point, 90, lambda p, s: len(p) + 1 / s) for point in sobol(space, 12)]
    found = proposed(space, known, given=given)
    assert found["optimizer"] == "sgd"
    assert "lr@sgd" in found and "lr@adam" not in found


def test_one_that_goes_astray_does_not_hide_the_others() -> None:
    """A value a million times too high changes nothing of note."""
    known = [told(point, 90) for point in sobol(PLANE, 20)]
    worst = max(range(20), key=lambda i: known[i].values[90][1])
    known[worst] = told(known[worst].params, 90, lambda p, s: 1e6)
    assert bowl(proposed(PLANE, known), 90) - 3 / 90 < 0.03


@pytest.mark.parametrize("value", [0.3, 0.0])
def test_equal_values_are_no_trouble(value: float) -> None:
    """If all is alike, any point will do."""
    known = [told(point, 90, lambda p, s: value) for point in sobol(PLANE, 12)]
    assert set(proposed(PLANE, known)) == set(PLANE.params)


def test_many_trials_are_thinned() -> None:
    """Of thousands the best and an even choice are looked at, which is as good and fast."""
    known = [
        told(point, (10, 30, 90)[i % 3]) for i, point in enumerate(sobol(PLANE, 4 * MOST_SEEN))
    ]
    assert bowl(proposed(PLANE, known), 90) - 3 / 90 < 0.01


def test_what_is_kept_of_many_trials() -> None:
    """The best of those that keep the bounds, and of several objectives both ends of the front."""
    rng = np.random.default_rng(0)

    def some(values: Sequence[float], broken: float) -> Observation:
        violations = [broken if broken else -1.0]
        return Observation(params={}, values={90: (broken, *values)}, violations={90: violations})

    single = [some([rng.random()], 0.0 if rng.random() < 0.3 else 1.0) for _ in range(1000)]
    best = min((one for one in single if not one.values[90][0]), key=lambda one: one.values[90])
    assert best in _thinned(single)
    several = [some([x := rng.random(), 30 * (1 - x) + rng.random()], 0.0) for _ in range(1000)]
    kept = _thinned(several)
    assert len(kept) == MOST_SEEN
    for objective in (1, 2):
        assert min(several, key=lambda one: one.values[90][objective]) in kept


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(CATALOGUE)), st.integers(0, 2**31 - 1), st.integers(0, 30))
def test_every_proposal_is_of_the_space(name: str, seed: int, count: int) -> None:
    """Whatever was tried, what is proposed builds a valid configuration."""
    space, rng = CATALOGUE[name], np.random.default_rng(seed)
    known = []
    for _ in range(count):
        params = point_at(space, {one: rng.random() for one in space.params})
        steps = STEPS[: rng.integers(len(STEPS) + 1)]
        values = {s: (0.0, float(rng.normal())) for s in steps}
        failed, pending = (bool(rng.random() < 0.2) for _ in range(2))
        violations = {s: [float(rng.normal())] for s in steps}
        known.append(
            Observation(
                params=params, values=values, violations=violations, failed=failed, pending=pending
            )
        )
    found = asked(space, known, seed=seed)
    if found is None:
        assert not any(one.values for one in known) or len(known) < STARTUP + sum(
            not one.values and not one.failed for one in known
        )
        return
    space.build(found, size_px=64, steps=90)
    active = {one for one in space.params if space.active(one, found)}
    assert set(found) == active
    assert all(space.params[one].contains(value) for one, value in found.items())


@given(st.integers(1, 500), st.integers(0, 3000), st.booleans(), st.floats(0, 1))
def test_shares_of_whole_numbers(low: int, width: int, log: bool, share: float) -> None:
    """All shares of one whole number are the share at which it is found again."""
    number = Int(low=low, high=low + width, log=log)
    space = Space(name="whole", why="One number.", params={"warmup_steps": number})
    expected = shares_of(space, point_at(space, {"warmup_steps": share}))["warmup_steps"]
    assert whole_shares(number, np.array([share, np.nan]))[0] == pytest.approx(expected, abs=1e-9)


@given(st.sampled_from(list(CATALOGUE)), st.integers(0, 2**31 - 1))
def test_shares_find_a_point_again(name: str, seed: int) -> None:
    """`point_at` and `shares_of` are each other's inverse, but for rounding."""
    space, rng = CATALOGUE[name], np.random.default_rng(seed)
    params = point_at(space, {one: rng.random() for one in space.params})
    shares = {one: 0.5 for one in space.params} | shares_of(space, params)
    again = point_at(space, shares)
    assert again.keys() == params.keys()
    for one, value in params.items():
        assert again[one] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-6))


@given(st.floats(-3, 3), st.floats(0.01, 3), st.floats(-3, 3))
def test_the_expected_improvement_is_that_of_its_integral(
    mean: float, spread: float, best: float
) -> None:
    """Close by and far above what is to be improved upon."""
    found = log_improvement(np.array([mean]), np.array([spread]), best)[0]
    ahead = (best - mean) / spread
    if ahead > -5:
        exact = quad(lambda z: (ahead - z) * norm.pdf(z), -12, ahead, epsabs=1e-14)[0] * spread
        assert found == pytest.approx(math.log(exact), abs=1e-3)
    else:
        assert math.isfinite(found) and found < math.log(spread) - 10


def test_far_above_the_best_nearer_is_better() -> None:
    """The logarithm goes on where the improvement itself would be 0."""
    far = log_improvement(np.linspace(4.5, 300, 200), np.ones(200), 0.0)
    assert (np.diff(far) < 0).all()
    assert np.abs(np.diff(log_improvement(np.array([4.999, 5.001]), np.ones(2), 0.0)))[0] < 0.2


def test_the_spread_grows_away_from_what_was_tried() -> None:
    """Next to none at a point that was tried, the whole of the prior far away."""
    points = np.array([[0.1, 0.2], [0.4, 0.9]])
    kernel = Kernel(lengths_D=np.array([0.2, 0.2]), noise=1e-6)
    model = GaussianProcess(points, np.array([[0.0], [2.0]]), kernel)
    spread = model.spread(np.array([[0.1, 0.2], [0.12, 0.2], [9.0, 9.0]]))[:, 0]
    assert spread[0] < 0.01 < spread[1] < 0.3 < spread[2] == pytest.approx(1.0, abs=1e-3)


def test_the_gradient_of_the_kernels_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of finite differences, with several columns and a trend."""
    seen = {}

    def instead(function, start, **_: object):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng(0)
        logs = np.asarray(start) + rng.normal(size=len(start)) * 0.3
        seen["off"] = check_grad(lambda x: function(x)[0], lambda x: function(x)[1], logs)
        seen["size"] = np.linalg.norm(function(logs)[1])
        return type("TrialResult", (), {"x": np.asarray(start)})

    monkeypatch.setattr(surrogate, "minimize", instead)
    rng = np.random.default_rng(1)
    fitted_kernel(rng.random((12, 3)), rng.normal(size=(12, 2)), trend=4.0)
    assert seen["off"] < 1e-4 * seen["size"]


def test_it_keeps_to_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear algebra of a proposal runs on one core, and on as many as before when it is done."""

    def threads() -> set[int]:
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    seen: list[set[int]] = []
    real = gp.fitted_kernel
    monkeypatch.setattr(
        gp, "fitted_kernel", lambda *a, **k: (seen.append(threads()), real(*a, **k))[1]
    )
    with threadpool_limits(limits=2, user_api="blas"):
        assert proposed(PLANE, [told(point, 90) for point in sobol(PLANE, 12)]) is not None
        assert seen == [{1}] and threads() == {2}
