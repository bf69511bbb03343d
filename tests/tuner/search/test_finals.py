"""Finals: which trials run again, with which seeds, and when."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tuner.helpers import (
    make_search,
    noisy_space,
    play,
    promoting,
    quality,
    report,
)
from tests.tuner.made_results import job, trial
from tuner.job.load import load_job
from tuner.job.objective import Goals, Objective
from tuner.results.results import Results
from tuner.search.finals import missing_finals
from tuner.search.halving import Decision
from tuner.search.protocol import Plan
from tuner.search.search import Search
from tuner.study.run_dir import RunDir
from tuner.study.study import load_records

GOALS = Goals(objectives=[Objective(weights={"lpips": 1.0})])


def test_finals(job_file: Path, tmp_path: Path) -> None:
    """Each finalist is run again to its best step, exactly once with each of the other seeds."""
    finals = ("finals.count=2", "finals.seeds=3", noisy_space(tmp_path))
    search = promoting(job_file, tmp_path, *finals)
    plans: list[Plan] = []

    def recorded(plan: Plan, steps: int) -> float:
        plans.append(plan)
        return quality(plan, steps)

    play(search, recorded, lanes=3)
    records, _ = load_records(tmp_path)
    finals_run = [r for r in records if r.final_of is not None]
    assert len(records) == 18 + 6
    assert sorted(Counter(r.final_of for r in finals_run).values()) == [3, 3]
    assert sorted(r.config["seed"] for r in finals_run) == [1, 1, 2, 2, 3, 3]
    best = min((r for r in records if r.searched), key=lambda r: r.best_rung(GOALS)[1].objective)
    assert best.trial in {r.final_of for r in finals_run}
    assert all(plan.final == (plan.trial >= 18) for plan in plans)
    assert promoting(job_file, tmp_path, *finals).next() is None


@pytest.mark.parametrize("init", ["content", "noise"])
def test_a_finalist_is_run_again_with_every_seed(job_file: Path, tmp_path: Path, init: str) -> None:
    """A finalist runs with all seeds even if it starts without noise, as rounding differs."""
    search = promoting(job_file, tmp_path, "finals.count=1", "finals.seeds=3", "space=gram")
    play(search, lambda plan, steps: quality(plan, steps) + 9 * (plan.config.init != init))
    finals_run = [r for r in load_records(tmp_path)[0] if r.final_of is not None]
    assert [(r.config["init"], r.config["seed"]) for r in finals_run] == [
        (init, s) for s in (1, 2, 3)
    ]


def test_a_finalist_of_an_older_version_is_not_run_again() -> None:
    """A finalist that an older version ran once, with the search's seed, gets no further runs."""
    spec = job()
    records = [trial(number, spec.goals, 0.2 + number / 10) for number in (0, 1)]
    once = replace(records[0], trial=2, final_of=0, config={**records[0].config, "seed": 0})
    assert missing_finals([*records, once], spec.goals, 2, 2) == [(1, 1), (1, 2)]


def test_finals_run_in_parallel(job_file: Path, tmp_path: Path) -> None:
    """Once the search is over, `next` returns every final without waiting for the others."""
    job = ("halving.rule=none", "finals.count=2", "finals.seeds=3", noisy_space(tmp_path))
    search = promoting(job_file, tmp_path, *job)
    for plan in [search.next() for _ in range(18)]:
        assert search.next() is None
        for steps in plan.rungs:
            search.report(report(plan, steps, quality(plan, steps)), lambda: [b"png"])
    finals = [search.next() for _ in range(6)]
    assert {(plan.final, plan.config.seed) for plan in finals} == {(True, 1), (True, 2), (True, 3)}
    assert search.next() is None


def test_finals_run_after_the_budget_is_spent(job_file: Path, tmp_path: Path) -> None:
    """When the time budget is spent the finals begin; a killed final is resumed."""
    now = 0.0
    options = ("budget.minutes=1", "finals.count=1", "finals.seeds=2", noisy_space(tmp_path))

    def resumed() -> Search:
        return promoting(job_file, tmp_path, *options, clock=lambda: now)

    search = resumed()
    first, second = search.next(), search.next()
    search.report(report(first, 2, 0.5), lambda: [b"png"])
    now = 70.0
    assert search.report(report(second, 2, 0.4), lambda: [b"png"]) is Decision.STOP
    final = search.next()
    assert (final.final, final.config.steps) == (True, 2)
    assert {r.trial for r in load_records(tmp_path)[0] if r.state == "pruned"} == {0, 1}
    again = resumed()
    plan = again.next()
    assert (plan.trial, plan.rungs) == (final.trial, final.rungs)
    play(again, quality)
    again.report(report(plan, 2, 0.4), lambda: [b"png"])
    assert again.next() is None and again.over
    assert again.reason == "the time budget was spent"
    ends = [(r.final_of, r.state) for r in load_records(tmp_path)[0] if r.final_of is not None]
    assert ends == [(1, "complete")] * 2


def test_an_interrupted_launch_begins_no_finals(job_file: Path, tmp_path: Path) -> None:
    """Ctrl-C ends a launch without finals, even if its budget is spent."""
    search = promoting(job_file, tmp_path, "budget.engine_seconds=1", "finals.count=1")
    plan = search.next()
    search.interrupt.stopping = True
    search.report(report(plan, 2, 0.5), lambda: [b"png"])
    assert search.next() is None
    assert search.has_stopped


def test_better_trials_of_an_extended_run(job_file: Path, tmp_path: Path) -> None:
    """A better trial of an extended run becomes a finalist and is ranked above the old one."""
    finals = ("finals.count=1", "finals.seeds=1")
    play(promoting(job_file, tmp_path, *finals), quality)
    options = ("search.trials=24", *finals)
    play(
        make_search(job_file, tmp_path, *options, presets=0),
        lambda plan, steps: quality(plan, steps) - (not plan.final and plan.trial > 18) * 9,
    )
    job, _ = load_job(job_file, options)
    records, notes = load_records(tmp_path)
    ranked = Results(run=RunDir(tmp_path), job=job, records=records, notes=notes).ranked()
    old, new = sorted(r.final_of for r in records if r.final_of is not None)
    assert ranked[0].record.trial == new > 18
    own = [result.rung.objective for result in ranked]
    assert own == sorted(own)
    assert old in [result.record.trial for result in ranked if result.finals]
