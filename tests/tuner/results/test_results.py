"""Ranking and lookup of results, on records made by hand."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.support.made_run import made_run
from nst_core.errors import RunError
from tests.tuner.helpers import nst_tuner
from tests.tuner.made_results import job, order, printed, results, trial
from tuner.pages.report.page_data import report_data
from tuner.results.as_json import best_json
from tuner.results.dataframe import Run
from tuner.results.results import load_results
from tuner.results.verdict import summary
from tuner.search.finals import missing_finals
from tuner.terminal.run_tables import best_table


def test_finalists_that_violate_a_constraint_rank_last() -> None:
    """A finalist that violates a constraint ranks after one that does not, whatever it scores."""
    spec = job(constraints={"seconds_per_image": "<= 5"})
    goals = spec.goals
    records = [
        trial(0, goals, 0.2, seconds=9),
        trial(1, goals, 0.4, seconds=4),
        trial(2, goals, 0.3, seconds=4),
        *(trial(3 + n, goals, score, final_of=n) for n, score in enumerate([0.2, 0.3, 0.4])),
    ]
    assert order(results(spec, records)) == [1, 2, 0]
    assert [t for t, _ in missing_finals(records[:3], goals, count=2, seeds=1)] == [2, 1]


def test_constraints_on_metrics_apply_to_the_mean_of_the_finals() -> None:
    """A constraint that was satisfied in the search but not in the finals counts as violated."""
    spec = job(constraints={"ssim": ">= 0.4", "seconds_per_image": "<= 5"})
    goals = spec.goals
    records = [
        trial(0, goals, 0.2, ssim=0.41),
        trial(1, goals, 0.3, ssim=0.45),
        *(trial(2 + n, goals, 0.2, seed=1 + n, final_of=0, ssim=0.3) for n in range(2)),
        *(trial(4 + n, goals, 0.3, seed=1 + n, final_of=1, ssim=0.44, seconds=9) for n in range(2)),
    ]
    run_results = results(spec, records)
    assert order(run_results) == [1, 0]
    assert [run_results.violated(result) for result in run_results.ranked()] == [
        [],
        ["ssim >= 0.4"],
    ]


def test_trials_with_failed_finals_rank_lower() -> None:
    """A trial with failed finals ranks after trials without; table, JSON and summary say so."""
    spec = job()
    goals = spec.goals
    records = [
        trial(0, goals, 0.20),
        trial(1, goals, 0.30),
        trial(2, goals, 0.10),
        trial(3, goals, 0.40),
        *(trial(4 + seed, goals, 0.3 + seed / 100, seed=seed, final_of=1) for seed in range(3)),
        trial(7, goals, 0.1, seed=0, final_of=0),
        *(trial(8 + n, goals, 0.1, seed=n, final_of=0, state="failed") for n in (1, 2)),
        *(trial(10 + n, goals, 0.1, seed=n, final_of=2, state="failed") for n in range(3)),
    ]
    run_results = results(spec, records)
    assert order(run_results) == [1, 0, 3, 2]
    table = printed(best_table(run_results, 5))
    assert "2 of 3 failed" in table and "3 of 3 failed" in table and "…" not in table
    assert [result["finals_failed"] for result in best_json(run_results)["trials"]] == [0, 2, 0, 3]
    only = replace(run_results, records=[records[0], *records[7:10]])
    assert "2 of 3 finals of trial 0 failed." in summary(only)


@pytest.mark.parametrize(("scores", "spread"), [([0.3, 0.3, 0.3], None), ([0.3, 0.5], 0.1414)])
def test_equal_final_scores_have_no_spread(scores: list[float], spread: float | None) -> None:
    """Equal scores of all seeds give no spread, because without noise they are always equal."""
    spec = job()
    finals = [
        trial(1 + seed, spec.goals, score, seed=seed, final_of=0)
        for seed, score in enumerate(scores)
    ]
    run_results = results(spec, [trial(0, spec.goals, 0.3), *finals])
    assert run_results.preset().provenance["spread"] == pytest.approx(spread, abs=1e-4)
    assert ("standard deviation" in " ".join(summary(run_results))) == (spread is not None)


def test_a_trial_without_result_is_an_error() -> None:
    """The error for a trial without a result says why it has none and which trials have one."""
    spec = job()
    records = [
        trial(0, spec.goals, 0.5),
        trial(1, spec.goals, 0.4),
        trial(2, spec.goals, 0.4, state="failed"),
        replace(trial(3, spec.goals, 0.4, state="running"), rungs={}),
        trial(4, spec.goals, 0.4, final_of=1),
    ]
    run_results = results(spec, records)
    assert run_results.trial_result(0).record.trial == 0
    for number, why in {
        99: "no trial 99; this run has trials 0 to 3",
        -1: "no trial -1; this run has trials 0 to 3",
        2: "trial 2 failed and has no result (went to NaN); trials with a result, the best first",
        3: "trial 3 has not reported a score yet; trials with a result, the best first: 1, 0",
        4: "trial 4 is a final of trial 1; name that trial",
    }.items():
        with pytest.raises(RunError, match=re.escape(why)):
            run_results.preset(number)
    with pytest.raises(RunError, match="no trial has reported a score yet"):
        results(spec, []).trial_result()
    with pytest.raises(RunError, match="no trial 0; this run has no trials yet"):
        results(spec, []).trial_result(0)


def test_an_unknown_pair_is_an_error() -> None:
    """The error for an unknown pair says which pairs the run has."""
    run = Run(results(job(), [trial(0, job().goals, 0.5)]))
    for ask in (lambda: run.image(0, pair=1), lambda: run.inputs(-1)):
        with pytest.raises(RunError, match=r"no pair -?1; this run has pair 0"):
            ask()


def test_a_difference_of_metrics_has_no_percentages() -> None:
    """An objective that subtracts a metric is only better or worse, without a percentage."""
    run_results = results(job(objective={"lpips": 1.0, "ssim": 1.0}), [])
    assert math.isnan(run_results.change(-0.5, -0.1))
    assert (run_results.comparison(-0.5, -0.1), run_results.comparison(0.2, -0.1)) == (
        "better",
        "worse",
    )
    plain = results(job(), [])
    assert (plain.comparison(0.3, 0.6), plain.comparison(0.9, 0.6)) == ("50% better", "50% worse")


@pytest.mark.parametrize(
    "objective", [{"lpips": 1, "seconds_per_image": 0.01}, ["seconds_per_image", "lpips"]]
)
def test_costs_may_be_part_of_the_objective(
    objective: object, tmp_path: Path, pictures: Path
) -> None:
    """Commands and page work with objectives that include costs, which are not known per pair."""
    run = made_run(tmp_path / "run", pictures, pairs=2, holdout=1, trials=6, objective=objective)
    results = load_results(run)
    finalist = next(run_results for run_results in results.ranked() if run_results.finals)
    assert results.held_out(finalist) is not None
    for command in ("best", "status"):
        for content in ((), ("--json",)):
            done = nst_tuner(command, run, *content)
            assert done.returncode == 0, done.stderr
    assert len(report_data(results)["pairs"]) == 3
