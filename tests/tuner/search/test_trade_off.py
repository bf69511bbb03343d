"""Ranking and finalists of a run with several objectives."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nst_core.errors import RunError
from tests.tuner.made_results import STEPS, job, order, results, trial
from tuner.results.as_json import best_json
from tuner.search.finals import missing_finals

#: LPIPS, SSIM and seconds per image of each trial; with few values, so that ties occur.
POINTS = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=12
)


@given(POINTS, st.sampled_from(["<= 3", "<= 0.5", "<= 9"]))
def test_the_front_is_ranked_by_its_first_objective(
    points: list[tuple[int, int, int]], bound: str
) -> None:
    """Trials without violations rank first, then the front, sorted by its first objective."""
    spec = job(objective=["lpips", "seconds_per_image"], constraints={"seconds_per_image": bound})
    records = [
        trial(number, spec.goals, lpips / 10, ssim=ssim / 10, seconds=seconds)
        for number, (lpips, ssim, seconds) in enumerate(points)
    ]
    run = results(spec, records)
    ranked = run.ranked()
    violated = [bool(run.violated(result)) for result in ranked]
    assert violated == sorted(violated)
    valid = [result for result in ranked if not run.violated(result)]
    if valid:
        assert ranked[0].rung.objective == min(result.rung.objective for result in valid)
        front = run.front()
        assert ranked[: len(front)] == front


def test_an_early_report_may_be_on_the_front() -> None:
    """An early report of a trial, worse and cheaper than its last, is a result of its own."""
    spec = job(objective=["lpips", "seconds_per_image"])
    slow, dominated = (trial(n, spec.goals, 0.29, seconds=9.0) for n in (0, 1))
    early = trial(0, spec.goals, 0.30, seconds=1.0).rungs[STEPS]
    slow = replace(slow, rungs={4: early, STEPS: slow.rungs[STEPS]})
    dominated = replace(
        dominated, rungs={STEPS: trial(1, spec.goals, 0.35, seconds=1.0).rungs[STEPS]}
    )
    run = results(spec, [slow, dominated])
    assert [(result.record.trial, result.steps) for result in run.front()] == [(0, STEPS), (0, 4)]
    assert run.preset(0, 4).config.steps == 4
    assert run.preset(0, 4).provenance["score"] == 0.30
    assert run.images(0) == ["trials/0000/pair0.png"]
    assert run.images(0, 4) == ["trials/0000/steps-00004-pair0.png"]
    assert [point["steps"] for point in best_json(run)["front"]] == [STEPS, 4]
    with pytest.raises(RunError, match=r"no score after 5 steps; choose one of its steps: 4, 10"):
        run.preset(0, 5)


#: LPIPS and seconds per image of every report of every trial.
COURSES = st.lists(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3),
    min_size=1,
    max_size=8,
)


@given(COURSES)
# (3, 1) and (2, 2) are no best reports of their trials, but dominate those of other trials.
@example([[(1, 5), (3, 1)], [(2, 4)], [(4, 2)]])
@example([[(1, 5), (2, 2)], [(3, 3)], [(4, 1)]])
def test_trials_that_no_report_dominates_rank_first(courses: list[list[tuple[int, int]]]) -> None:
    """Trials whose best report is on the front of all reports rank first and are finalists."""
    spec = job(objective=["lpips", "seconds_per_image"])
    records = []
    for number, course in enumerate(courses):
        trials = [trial(number, spec.goals, x / 10, seconds=seconds) for x, seconds in course]
        rungs = {steps: made.rungs[STEPS] for steps, made in enumerate(trials, start=1)}
        records.append(replace(trials[0], rungs=rungs))
    run = results(spec, records)
    on_front = {(result.record.trial, result.steps) for result in run.front()}
    leads = [(result.record.trial, result.steps) in on_front for result in run.ranked()]
    assert leads[0] and leads == sorted(leads, reverse=True)
    count = sum(leads)
    finalists = {number for number, _ in missing_finals(records, spec.goals, count, seeds=1)}
    assert finalists == set(order(run)[:count])


def test_the_cheapest_result_is_not_the_best() -> None:
    """The best result of a front is the best by its first objective, not the cheapest."""
    spec = job(objective=["lpips", "seconds_per_image"])
    points = [(0.5, 1.0), (0.3, 4.0), (0.2, 9.0)]
    records = [trial(n, spec.goals, lpips, seconds=s) for n, (lpips, s) in enumerate(points)]
    run = results(spec, records)
    assert order(run) == [2, 1, 0]
    assert run.preset().provenance["trial"] == 2
    assert missing_finals(records, spec.goals, count=1, seeds=1) == [(2, 1)]
