"""Early stopping: every rule as a function of reported values."""

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


def values_at(values: list[float], rung: Rung) -> RungValues:
    """Return reports at one rung, by trials 0, 1, 2 and so on."""
    reported = RungValues()
    for trial, value in enumerate(values):
        reported.add(rung, trial, point(value))
    return reported


def point(*values: float) -> Values:
    """Return objective values without a constraint violation."""
    return (0.0, *values)


RUNG = Rung(10, 0)


@given(DISTINCT, st.integers(2, 5))
def test_the_best_share_is_promoted(values: list[float], reduction: int) -> None:
    """Paused trials are promoted, the best first, until 1/reduction of the rung has continued."""
    rule = halving(reduction=reduction)
    reported = values_at(values, RUNG)
    paused = dict.fromkeys(range(len(values)), RUNG)
    promoted = []
    while (trial := rule.promotable(paused, reported)) is not None:
        del paused[trial]
        promoted.append(values[trial])
    assert promoted == sorted(values)[: len(values) // reduction]


@given(DISTINCT.filter(bool))
def test_at_the_end_one_trial_is_always_promoted(values: list[float]) -> None:
    """When no trial is to come, the best at the highest rung is promoted, however few there are."""
    reported, paused = values_at(values, RUNG), dict.fromkeys(range(len(values)), RUNG)
    best = halving().promotable(paused, reported, last=True)
    assert best == values.index(min(values))


def test_a_higher_rung_comes_first() -> None:
    """Of two trials that may be promoted, the one at the higher rung is."""
    high = Rung(30, 0)
    reported = values_at([0.1, 0.2, 0.3], RUNG)
    for trial, value in enumerate([0.9, 1.0, 1.1], 3):
        reported.add(high, trial, point(value))
    paused = {trial: RUNG if trial < 3 else high for trial in range(6)}
    assert halving().promotable(paused, reported) == 3


@given(DISTINCT.filter(lambda v: len(v) > 2), st.integers(0, 40))
def test_only_hopeless_trials_stop(values: list[float], to_come: int) -> None:
    """With `promote` a trial pauses as long as future reports may still get it promoted."""
    reported, count = values_at(values, RUNG), len(values)
    place = 1 + sum(value < values[0] for value in values)
    decision = halving().decide(0, RUNG, reported, to_come=to_come)
    if place <= count // 3:
        assert decision is Decision.CONTINUE
    elif place <= max(1, (count + to_come) // 3):  # there is room if all trials to come are worse
        assert decision is Decision.PAUSE
    else:
        assert decision is Decision.STOP


@given(DISTINCT.filter(bool), st.integers(2, 5))
def test_stop_continues_the_best_share(values: list[float], reduction: int) -> None:
    """With `stop` exactly the best 1/reduction, at least one trial, continue at once."""
    rule, reported = halving("stop", reduction=reduction), values_at(values, RUNG)
    continued = {
        value
        for trial, value in enumerate(values)
        if rule.decide(trial, RUNG, reported, to_come=0) is Decision.CONTINUE
    }
    assert continued == set(sorted(values)[: max(1, len(values) // reduction)])


def test_equal_trials_continue_together() -> None:
    """Equal trials share their place, in whichever order they reported."""
    reported = values_at([0.5] * 6, RUNG)
    decisions = {halving("stop").decide(t, RUNG, reported, to_come=0) for t in range(6)}
    assert decisions == {Decision.CONTINUE}


@given(DISTINCT.filter(lambda v: len(v) >= MEDIAN_OF))
def test_the_median_rule(values: list[float]) -> None:
    """With `median` the worse half stops once `MEDIAN_OF` trials have reported."""
    reported = values_at(values, RUNG)
    rule = halving("median")
    continued = [
        value
        for trial, value in enumerate(values)
        if rule.decide(trial, RUNG, reported, to_come=0) is Decision.CONTINUE
    ]
    assert sorted(continued) == sorted(values)[: (len(values) + 1) // 2]
    few = values_at(values[: MEDIAN_OF - 1], RUNG)
    assert all(
        rule.decide(t, RUNG, few, to_come=0) is Decision.CONTINUE for t in range(MEDIAN_OF - 1)
    )


def test_none_never_stops() -> None:
    """With `none` the worst trial continues."""
    reported = values_at([0.1] * 9 + [9.0], RUNG)
    assert halving("none").decide(9, RUNG, reported, to_come=0) is Decision.CONTINUE


def test_brackets_share_the_budget() -> None:
    """Hyperband's brackets have different first rungs and run about the same number of steps."""
    rule = halving("hyperband")
    all_rungs = [rule.rungs(trial, 270) for trial in range(3000)]
    assert set(all_rungs) == {(10, 30, 90, 270), (30, 90, 270), (90, 270), (270,)}
    counts = Counter(all_rungs)
    # Of n trials in a bracket, n / 3**i reach the i-th rung after the first.
    spent = [
        count
        * (rungs[0] + sum((b - a) / 3**i for i, (a, b) in enumerate(itertools.pairwise(rungs), 1)))
        for rungs, count in counts.items()
    ]
    assert max(spent) < 2.2 * min(spent)
    assert len({rule.rung(rungs, 270) for rungs in counts}) == 4


def test_brackets_do_not_compete() -> None:
    """A trial is compared with trials of its own bracket only."""
    rule = halving("hyperband")
    reported = RungValues()
    for trial, value in enumerate([0.1, 0.2, 0.3]):
        reported.add(Rung(90, 10), trial, point(value))
    for trial, value in enumerate([0.7, 0.8, 0.9], 3):
        reported.add(Rung(90, 90), trial, point(value))
    assert rule.decide(3, Rung(90, 90), reported, to_come=0) is Decision.CONTINUE
    assert rule.decide(2, Rung(90, 10), reported, to_come=0) is Decision.STOP


def test_several_objectives_are_compared_by_rank() -> None:
    """Trials that no other dominates are promoted before all others."""
    rule = halving()
    reported = RungValues()
    points = [(0.1, 0.9), (0.9, 0.1), (0.5, 0.5), (0.6, 0.6), (0.95, 0.95), (0.7, 0.8)]
    for trial, values in enumerate(points):
        reported.add(RUNG, trial, point(*values))
    paused = dict.fromkeys(range(6), RUNG)
    first = rule.promotable(paused, reported)
    assert first is not None
    del paused[first]
    assert {first, rule.promotable(paused, reported)} == {0, 1}


@pytest.mark.parametrize("rule", ["promote", "stop", "hyperband", "median", "none"])
def test_the_last_rung_is_the_end(rule: Rule) -> None:
    """With every rule the rungs ascend and end at max_steps."""
    for trial in range(20):
        rungs = halving(rule).rungs(trial, 100)
        assert rungs[-1] == 100
        assert list(rungs) == sorted(set(rungs))
