import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.job.ranking import Values
from tuner.job.spec import Rule
from tuner.search.halving import MEDIAN_OF, Decision, Halving, Rung, RungValues

DISTINCT = st.lists(st.floats(0, 10), max_size=40, unique=True)


def halving(rule: Rule = "promote", **changes: object) -> Halving:
    made = Halving(rule=rule, min_steps=10, reduction=3)
    return replace(made, **changes)  # type: ignore[arg-type]


def ladder_of(values: list[float], rung: Rung) -> RungValues:
    ladder = RungValues()
    for trial, value in enumerate(values):
        ladder.add(rung, trial, point(value))
    return ladder


def point(*values: float) -> Values:
    return (0.0, *values)


RUNG = Rung(10, 0)


@given(DISTINCT, st.integers(2, 5))
def test_the_best_share_is_promoted(values: list[float], reduction: int) -> None:
    """Whoever waits is promoted in order of merit, until a 1/reduction of the rung has gone on."""
    rule = halving(reduction=reduction)
    ladder = ladder_of(values, RUNG)
    waiting = dict.fromkeys(range(len(values)), RUNG)
    promoted = []
    while (trial := rule.promotable(waiting, ladder)) is not None:
        del waiting[trial]
        promoted.append(values[trial])
    assert promoted == sorted(values)[: len(values) // reduction]


@given(DISTINCT.filter(bool))
def test_at_the_end_one_goes_on_in_any_case(values: list[float]) -> None:
    """When nothing else is to come, the best at the highest rung goes on, however few there are."""
    ladder, waiting = ladder_of(values, RUNG), dict.fromkeys(range(len(values)), RUNG)
    best = halving().promotable(waiting, ladder, last=True)
    assert best == values.index(min(values))


def test_a_higher_rung_comes_first() -> None:
    """Of two that may be promoted, the one that has come further is."""
    high = Rung(30, 0)
    ladder = ladder_of([0.1, 0.2, 0.3], RUNG)
    for trial, value in enumerate([0.9, 1.0, 1.1], 3):
        ladder.add(high, trial, point(value))
    waiting = {trial: RUNG if trial < 3 else high for trial in range(6)}
    assert halving().promotable(waiting, ladder) == 3


@given(DISTINCT.filter(lambda v: len(v) > 2), st.integers(0, 40))
def test_the_hopeless_end_and_others_wait(values: list[float], to_come: int) -> None:
    """A trial is stopped only if it could not be promoted, whatever those to come report."""
    ladder, count = ladder_of(values, RUNG), len(values)
    place = 1 + sum(value < values[0] for value in values)
    decision = halving().decide(0, RUNG, ladder, to_come=to_come)
    if place <= count // 3:
        assert decision is Decision.CONTINUE
    elif place <= max(1, (count + to_come) // 3):  # if all to come are worse, there is room
        assert decision is Decision.PAUSE
    else:
        assert decision is Decision.STOP


@given(DISTINCT.filter(bool), st.integers(2, 5))
def test_stop_lets_the_best_share_on(values: list[float], reduction: int) -> None:
    """With the rule `stop` exactly the best 1/reduction, at least one, go on at once."""
    rule, ladder = halving("stop", reduction=reduction), ladder_of(values, RUNG)
    on = {
        value
        for trial, value in enumerate(values)
        if rule.decide(trial, RUNG, ladder, to_come=0) is Decision.CONTINUE
    }
    assert on == set(sorted(values)[: max(1, len(values) // reduction)])


def test_equals_go_on_together() -> None:
    """Who arrived first does not matter: equals share their place."""
    ladder = ladder_of([0.5] * 6, RUNG)
    decisions = {halving("stop").decide(t, RUNG, ladder, to_come=0) for t in range(6)}
    assert decisions == {Decision.CONTINUE}


@given(DISTINCT.filter(lambda v: len(v) >= MEDIAN_OF))
def test_the_median_rule(values: list[float]) -> None:
    """The worse half is stopped, once there are enough to speak of a median."""
    ladder = ladder_of(values, RUNG)
    rule = halving("median")
    on = [
        value
        for trial, value in enumerate(values)
        if rule.decide(trial, RUNG, ladder, to_come=0) is Decision.CONTINUE
    ]
    assert sorted(on) == sorted(values)[: (len(values) + 1) // 2]
    few = ladder_of(values[: MEDIAN_OF - 1], RUNG)
    assert all(
        rule.decide(t, RUNG, few, to_come=0) is Decision.CONTINUE for t in range(MEDIAN_OF - 1)
    )


def test_none_never_stops() -> None:
    """Without halving the worst goes on."""
    ladder = ladder_of([0.1] * 9 + [9.0], RUNG)
    assert halving("none").decide(9, RUNG, ladder, to_come=0) is Decision.CONTINUE


def test_brackets_share_the_budget() -> None:
    """Hyperband's brackets differ in their first rung, and each runs about as many steps."""
    rule = halving("hyperband")
    ladders = [rule.rungs(trial, 270) for trial in range(3000)]
    assert set(ladders) == {(10, 30, 90, 270), (30, 90, 270), (90, 270), (270,)}
    counts = Counter(ladders)
    # Of n trials in a bracket with k halvings, n/3**i come to the i-th rung beyond the first.
    spent = [
        count
        * (rungs[0] + sum((b - a) / 3**i for i, (a, b) in enumerate(itertools.pairwise(rungs), 1)))
        for rungs, count in counts.items()
    ]
    assert max(spent) < 2.2 * min(spent)
    assert len({rule.rung(rungs, 270) for rungs in counts}) == 4


def test_brackets_do_not_compete() -> None:
    """A trial is measured against its own bracket only."""
    rule = halving("hyperband")
    ladder = RungValues()
    for trial, value in enumerate([0.1, 0.2, 0.3]):
        ladder.add(Rung(90, 10), trial, point(value))
    for trial, value in enumerate([0.7, 0.8, 0.9], 3):
        ladder.add(Rung(90, 90), trial, point(value))
    assert rule.decide(3, Rung(90, 90), ladder, to_come=0) is Decision.CONTINUE
    assert rule.decide(2, Rung(90, 10), ladder, to_come=0) is Decision.STOP


def test_several_objectives_are_halved_by_rank() -> None:
    """The non-dominated go on first, and of the dominated nobody while there are enough."""
    rule = halving()
    ladder = RungValues()
    points = [(0.1, 0.9), (0.9, 0.1), (0.5, 0.5), (0.6, 0.6), (0.95, 0.95), (0.7, 0.8)]
    for trial, values in enumerate(points):
        ladder.add(RUNG, trial, point(*values))
    waiting = dict.fromkeys(range(6), RUNG)
    first = rule.promotable(waiting, ladder)
    assert first is not None
    del waiting[first]
    assert {first, rule.promotable(waiting, ladder)} == {0, 1}


@pytest.mark.parametrize("rule", ["promote", "stop", "hyperband", "median", "none"])
def test_the_last_rung_is_the_end(rule: Rule) -> None:
    """Every rule reports at max_steps last, and at steps that grow."""
    for trial in range(20):
        rungs = halving(rule).rungs(trial, 100)
        assert rungs[-1] == 100
        assert list(rungs) == sorted(set(rungs))
