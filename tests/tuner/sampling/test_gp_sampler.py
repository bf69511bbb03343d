"""The default sampler: what it proposes for given observations."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from search_spaces import CATALOGUE, Choice, Float, Int, Params, Space
from tuner.sampling import gp_posterior
from tuner.sampling.encoding import point_at, shares_of
from tuner.sampling.gp_sampler import STARTUP, propose
from tuner.sampling.observations import MOST_SEEN, Observation, thinned
from tuner.sampling.sobol_grid import planned_point

STEPS = (10, 30, 90)
PLANE = Space(
    name="plane",
    why="Two numbers.",
    params={"lr": Float(low=0.01, high=1.0, log=True), "tv_weight": Float(low=0.0, high=1.0)},
)


def bowl(params: Params, steps: int) -> float:
    """A function with its minimum at lr 0.1 and tv_weight 0.7; it falls with the steps."""
    lr, tv = float(params["lr"]), float(params["tv_weight"])
    return (math.log10(lr) + 1) ** 2 + (tv - 0.7) ** 2 + 3 / steps


def observed(
    params: Params, upto: int, score: Callable[[Params, int], float] = bowl
) -> Observation:
    steps = [s for s in STEPS if s <= upto]
    return Observation(params=params, losses={s: [score(params, s)] for s in steps})


def sobol(space: Space, count: int) -> list[Params]:
    points = [planned_point("sobol", space, index, 0) for index in range(count)]
    return [point for point in points if point is not None]


def asked(space: Space, tried: Sequence[Observation], **more: object) -> Params | None:
    return propose(space, tried, **{"max_steps": 90, "index": len(tried), "seed": 0, **more})  # type: ignore[arg-type]


def proposed(space: Space, tried: Sequence[Observation], **more: object) -> Params:
    point = asked(space, tried, **more)
    assert point is not None
    return point


def test_few_observations_lead_to_no_proposal() -> None:
    """A proposal needs `STARTUP` trials that reported or failed, one of them with a report."""
    known = [observed(one, 90) for one in sobol(PLANE, STARTUP)]
    assert [asked(PLANE, known[:count]) for count in range(STARTUP)] == [None] * STARTUP
    assert asked(PLANE, known) is not None
    failed = [Observation(params=one.params, failed=True) for one in known]
    assert asked(PLANE, failed) is None
    assert asked(PLANE, [*failed[1:], known[0]]) is not None


def test_the_optimum_is_found_from_stopped_trials() -> None:
    """Trials of at most a third of the steps, none near the optimum, are enough to find it."""
    points = [p for p in sobol(PLANE, 40) if abs(math.log10(float(p["lr"])) + 1) > 0.15][:20]
    found = proposed(PLANE, [observed(point, (10, 30)[i % 2]) for i, point in enumerate(points)])
    assert bowl(found, 90) < min(bowl(point, 90) for point in points)
    assert bowl(found, 90) - 3 / 90 < 0.02


def test_trials_are_compared_at_the_same_steps() -> None:
    """A configuration that scores badly because it was stopped early is not regarded as bad."""

    def late(params: Params, steps: int) -> float:
        """A value that depends more on the steps than on the configuration."""
        return 0.1 * bowl(params, 90) + 100 / steps

    points = sobol(PLANE, 24)
    # The trials near the minimum had few steps, so they look worst.
    ranked = sorted(points, key=lambda point: bowl(point, 90))
    known = [observed(p, 10, late) for p in ranked[:8]] + [
        observed(p, 90, late) for p in ranked[8:]
    ]
    assert bowl(proposed(PLANE, known), 90) < bowl(ranked[4], 90)


def test_proposals_keep_away_from_running_trials() -> None:
    """Simultaneous proposals are further apart if each knows the running trials before it."""

    def apart(pending: bool) -> float:
        known, shares = [observed(point, 30) for point in sobol(PLANE, STARTUP)], []
        for index in range(100, 106):
            point = proposed(PLANE, known, index=index)
            shares.append(np.array(list(shares_of(PLANE, point).values())))
            known.append(Observation(params=point, pending=pending))
        return float(np.median([np.linalg.norm(a - b) for a, b in combinations(shares, 2)]))

    assert apart(pending=True) > 3 * apart(pending=False)


def test_a_region_that_is_always_stopped_is_left() -> None:
    """The sampler leaves a region that looks slow but good if all its trials are stopped early."""

    def slow(params: Params) -> bool:
        return float(params["tv_weight"]) > 0.5

    def one(params: Params, upto: int) -> Observation:
        """An observation that is bad at first and best at the end if slow, otherwise constant."""
        return observed(params, upto, lambda p, steps: 3 - steps / 30 if slow(p) else bowl(p, 90))

    points = sobol(PLANE, 16)
    lucky = next(point for point in points if slow(point))
    known = [one(p, 10 if slow(p) and p is not lucky else 90) for p in points]
    drawn = []
    for index in range(100, 112):
        drawn.append(proposed(PLANE, known, index=index))
        known.append(one(drawn[-1], 10 if slow(drawn[-1]) else 90))
    assert sum(map(slow, drawn)) <= len(drawn) / 2


def test_no_configuration_is_proposed_twice() -> None:
    """In a small space, no point is proposed again before all points were tried."""
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

    known = [observed(point, 90, score) for point in points]
    for index in range(30):
        known.append(observed(proposed(few, known, index=index), 90, score))
    assert len({tuple(sorted(one.params.items())) for one in known}) == len(known)


def test_the_same_trials_lead_to_the_same_proposal() -> None:
    """A proposal depends only on the trials, the seed and the index."""
    known = [observed(point, 90) for point in sobol(PLANE, 12)]
    assert proposed(PLANE, known) == proposed(PLANE, known)
    assert proposed(PLANE, known) != proposed(PLANE, known, seed=1)


def test_failed_trials_are_avoided() -> None:
    """Nothing is proposed in a region where trials failed without a report."""

    def flat(params: Params, steps: int) -> float:
        return 0.1 * float(params["tv_weight"])

    points = sobol(PLANE, 24)
    failed = [p for p in points if float(p["lr"]) > 0.3]
    known = [observed(p, 90, flat) for p in points if p not in failed]
    known += [Observation(params=p, failed=True) for p in failed]
    rates = [float(proposed(PLANE, known, index=100 + i)["lr"]) for i in range(4)]
    assert max(rates) < 0.3


def test_late_failures_are_avoided() -> None:
    """A learning rate that scores best at the first rung and then diverges is not proposed."""

    def one(params: Params) -> Observation:
        rate = float(params["lr"])
        if rate > 0.3:
            return Observation(params=params, losses={10: [-rate]}, failed=True)
        return observed(params, 90, lambda params, steps: 0.3 - rate)

    known = [one(point) for point in sobol(PLANE, 24)]
    rates = [float(proposed(PLANE, known, index=100 + i)["lr"]) for i in range(4)]
    assert max(rates) < 0.35


def test_constraints_are_kept() -> None:
    """Proposals keep the constraint, and are close to the best that it allows."""

    def one(params: Params) -> Observation:
        over = 0.4 - float(params["tv_weight"])  # at least 0.4 is asked for
        value = float(params["tv_weight"])
        return Observation(params=params, losses={90: [value]}, violations={90: {"tv": over}})

    found = [proposed(PLANE, [one(p) for p in sobol(PLANE, 24)], index=i) for i in range(30, 34)]
    assert all(0.38 < float(point["tv_weight"]) < 0.6 for point in found)


def test_a_bound_that_few_reports_violate_is_kept() -> None:
    """A cost that grows with the steps, and is low in most reports, still keeps its bound."""

    def one(params: Params, upto: int) -> Observation:
        """An observation whose value falls with its cost, up to 10 seconds; the bound is 5."""
        cost = {s: (2 + 8 * float(params["tv_weight"])) * s / 90 for s in STEPS if s <= upto}
        return Observation(
            params=params,
            losses={s: [1 - c / 10] for s, c in cost.items()},
            violations={s: {"cost": c - 5} for s, c in cost.items()},
        )

    known = [one(p, 90 if i % 5 == 0 else 10) for i, p in enumerate(sobol(PLANE, 40))]
    assert 0 < sum(one.values(90)[0] > 0 for one in known if 90 in one.losses) < 8
    found = [proposed(PLANE, known, index=i) for i in range(40, 44)]
    assert max(2 + 8 * float(point["tv_weight"]) for point in found) < 5.5


def test_a_constraint_that_all_trials_violate_comes_first() -> None:
    """If all trials violate a constraint, proposals reduce the violation, at any objective."""

    def one(params: Params) -> Observation:
        rate = math.log10(float(params["lr"]))
        return Observation(params=params, losses={90: [-rate]}, violations={90: {"lr": rate + 1.9}})

    known = [one(p) for p in sobol(PLANE, 32) if float(p["lr"]) > 0.05]
    assert float(proposed(PLANE, known)["lr"]) < 0.03


def test_each_draw_weighs_objectives_differently() -> None:
    """Proposals for several objectives are spread along the Pareto front."""

    def one(params: Params) -> Observation:
        tv, rate = float(params["tv_weight"]), math.log10(float(params["lr"])) + 1
        return Observation(params=params, losses={90: [tv + rate**2, 1 - tv + rate**2]})

    known = [one(p) for p in sobol(PLANE, 24)]
    found = [proposed(PLANE, known, index=i) for i in range(100, 108)]
    values = [float(point["tv_weight"]) for point in found]
    assert min(values) < 0.3 and max(values) > 0.7
    assert all(0.04 < float(point["lr"]) < 0.25 for point in found)


def test_given_parameters_are_kept() -> None:
    """Given parameters are kept, and those that depend on them are drawn."""
    space = CATALOGUE["optimizers"]
    given = space.completed({"optimizer": "sgd"})
    known = [observed(point, 90, lambda p, s: len(p) + 1 / s) for point in sobol(space, 12)]
    found = proposed(space, known, given=given)
    assert found["optimizer"] == "sgd"
    assert "lr@sgd" in found and "lr@adam" not in found


def test_an_outlier_does_not_hide_other_values() -> None:
    """A value that is a million times too high hardly changes the proposal."""
    known = [observed(point, 90) for point in sobol(PLANE, 20)]
    worst = max(range(20), key=lambda i: known[i].losses[90])
    known[worst] = observed(known[worst].params, 90, lambda p, s: 1e6)
    assert bowl(proposed(PLANE, known), 90) - 3 / 90 < 0.03


@pytest.mark.parametrize("value", [0.3, 0.0])
def test_equal_values_lead_to_a_proposal(value: float) -> None:
    """If all values are equal, some configuration is proposed."""
    known = [observed(point, 90, lambda p, s: value) for point in sobol(PLANE, 12)]
    assert set(proposed(PLANE, known)) == set(PLANE.params)


def test_many_trials_are_thinned() -> None:
    """With many trials, a subset of them is enough to find the optimum."""
    known = [
        observed(point, (10, 30, 90)[i % 3]) for i, point in enumerate(sobol(PLANE, 4 * MOST_SEEN))
    ]
    assert bowl(proposed(PLANE, known), 90) - 3 / 90 < 0.01


def test_thinning_keeps_the_best_trials() -> None:
    """Thinning keeps the best valid trial, and with several objectives both ends of the front."""
    rng = np.random.default_rng(0)

    def some(values: Sequence[float], broken: float) -> Observation:
        violations = {90: {"bound": broken if broken else -1.0}}
        return Observation(params={}, losses={90: values}, violations=violations)

    single = [some([rng.random()], 0.0 if rng.random() < 0.3 else 1.0) for _ in range(1000)]
    best = min((one for one in single if not one.values(90)[0]), key=lambda one: one.values(90))
    assert best in thinned(single)
    several = [some([x := rng.random(), 30 * (1 - x) + rng.random()], 0.0) for _ in range(1000)]
    kept = thinned(several)
    assert len(kept) == MOST_SEEN
    for objective in (1, 2):
        assert min(several, key=lambda one: one.values(90)[objective]) in kept


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(CATALOGUE)), st.integers(0, 2**31 - 1), st.integers(0, 30))
def test_every_proposal_is_valid(name: str, seed: int, count: int) -> None:
    """For any observations, the proposal is a valid configuration of the space."""
    space, rng = CATALOGUE[name], np.random.default_rng(seed)
    known = []
    for _ in range(count):
        params = point_at(space, {one: rng.random() for one in space.params})
        steps = STEPS[: rng.integers(len(STEPS) + 1)]
        losses = {s: [float(rng.normal())] for s in steps}
        failed, pending = (bool(rng.random() < 0.2) for _ in range(2))
        violations = {s: {"bound": float(rng.normal())} for s in steps}
        known.append(
            Observation(
                params=params, losses=losses, violations=violations, failed=failed, pending=pending
            )
        )
    found = asked(space, known, seed=seed)
    if found is None:
        assert not any(one.losses for one in known) or len(known) < STARTUP + sum(
            not one.losses and not one.failed for one in known
        )
        return
    space.build(found, size_px=64, steps=90)
    active = {one for one in space.params if space.active(one, found)}
    assert set(found) == active
    assert all(space.params[one].contains(value) for one, value in found.items())


def test_a_proposal_uses_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear algebra of a proposal runs on one thread; afterwards the old limit is restored."""

    def threads() -> set[int]:
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    seen: list[set[int]] = []
    real = gp_posterior.fitted_kernel
    monkeypatch.setattr(
        gp_posterior, "fitted_kernel", lambda *a, **k: (seen.append(threads()), real(*a, **k))[1]
    )
    with threadpool_limits(limits=2, user_api="blas"):
        assert proposed(PLANE, [observed(point, 90) for point in sobol(PLANE, 12)]) is not None
        assert seen == [{1}] and threads() == {2}
