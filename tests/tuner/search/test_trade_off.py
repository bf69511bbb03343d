"""What is best, and who is in the finals, where a run has several objectives."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nst_core.errors import RunError
from tests.tuner.made_results import STEPS, job, order, results, trial
from tuner.results.as_json import best_json
from tuner.search.finals import missing_finals

#: lpips, ssim and seconds per image of a trial: few values each, so that there are ties.
POINTS = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=12
)


@given(POINTS, st.sampled_from(["<= 3", "<= 0.5", "<= 9"]))
def test_the_best_of_a_trade_off_is_the_best_by_its_first_objective(
    points: list[tuple[int, int, int]], bound: str
) -> None:
    """Of several objectives the front comes first, by the first one, after the bounds only."""
    asked = job(objective=["lpips", "seconds_per_image"], constraints={"seconds_per_image": bound})
    records = [
        trial(number, asked.goals, lpips / 10, ssim=ssim / 10, seconds=seconds)
        for number, (lpips, ssim, seconds) in enumerate(points)
    ]
    found = results(asked, records)
    ranked = found.ranked()
    broken = [bool(found.violated(one)) for one in ranked]
    assert broken == sorted(broken)
    kept = [one for one in ranked if not found.violated(one)]
    if kept:
        assert ranked[0].rung.objective == min(one.rung.objective for one in kept)
        front = found.front()
        assert ranked[: len(front)] == front


def test_a_trial_stands_on_the_front_with_fewer_steps_too() -> None:
    """What a trial was earlier, worse and cheaper, is a choice; what that beats is none."""
    asked = job(objective=["lpips", "seconds_per_image"])
    slow, beaten = (trial(n, asked.goals, 0.29, seconds=9.0) for n in (0, 1))
    early = trial(0, asked.goals, 0.30, seconds=1.0).rungs[STEPS]
    slow = replace(slow, rungs={4: early, STEPS: slow.rungs[STEPS]})
    beaten = replace(beaten, rungs={STEPS: trial(1, asked.goals, 0.35, seconds=1.0).rungs[STEPS]})
    found = results(asked, [slow, beaten])
    assert [(one.record.trial, one.steps) for one in found.front()] == [(0, STEPS), (0, 4)]
    assert found.preset(0, 4).config.steps == 4
    assert found.preset(0, 4).provenance["score"] == 0.30
    assert found.images(0) == ["trials/0000/pair0.png"]
    assert found.images(0, 4) == ["trials/0000/steps-00004-pair0.png"]
    assert [point["steps"] for point in best_json(found)["front"]] == [STEPS, 4]
    with pytest.raises(RunError, match=r"no score after 5 steps \(it did after 4, 10\)"):
        found.preset(0, 5)


#: Reports of trials, each with lpips and seconds per image.
COURSES = st.lists(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3),
    min_size=1,
    max_size=8,
)


@given(COURSES)
@example([[(1, 5), (3, 1)], [(2, 4)], [(4, 2)]])  # an end of the front of bests alone is none
@example([[(1, 5), (2, 2)], [(3, 3)], [(4, 1)]])  # nor is what lies between its ends
def test_what_no_report_beats_comes_first(courses: list[list[tuple[int, int]]]) -> None:
    """Trials whose best stands on the front of all reports lead, and are the first finalists."""
    asked = job(objective=["lpips", "seconds_per_image"])
    records = []
    for number, course in enumerate(courses):
        made = [trial(number, asked.goals, x / 10, seconds=seconds) for x, seconds in course]
        rungs = {at: one.rungs[STEPS] for at, one in enumerate(made, start=1)}
        records.append(replace(made[0], rungs=rungs))
    found = results(asked, records)
    on_front = {(one.record.trial, one.steps) for one in found.front()}
    leads = [(one.record.trial, one.steps) in on_front for one in found.ranked()]
    assert leads[0] and leads == sorted(leads, reverse=True)
    count = sum(leads)
    finalists = {number for number, _ in missing_finals(records, asked.goals, count, seeds=1)}
    assert finalists == set(order(found)[:count])


def test_the_best_of_a_front_is_not_its_cheapest_end() -> None:
    """What reads the best of a trade-off (headline, export, sheet) gets no poor fast picture."""
    asked = job(objective=["lpips", "seconds_per_image"])
    points = [(0.5, 1.0), (0.3, 4.0), (0.2, 9.0)]
    records = [trial(n, asked.goals, lpips, seconds=s) for n, (lpips, s) in enumerate(points)]
    found = results(asked, records)
    assert order(found) == [2, 1, 0]
    assert found.preset().provenance["trial"] == 2
    assert missing_finals(records, asked.goals, count=1, seeds=1) == [(2, 1)]
