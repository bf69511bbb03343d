"""How well the rungs of a run rank its trials, on records made by hand."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tests.tuner.made_results import job, printed, results, trial
from tuner.results.as_json import best_json, status_json
from tuner.results.results import Results
from tuner.results.rung_ranking import (
    MIN_TRIALS,
    RungCorrelation,
    rung_correlations,
    rung_warning,
)
from tuner.results.verdict import summary
from tuner.study.records import TrialRecord
from tuner.terminal.run_tables import best_table, status_table

#: Orders of ten trials at a rung: the same, and one that has little to do with it.
ORDER, OTHER = list(range(10)), [5, 2, 8, 0, 9, 3, 7, 1, 6, 4]


def run_with(rungs: Mapping[int, Sequence[float]], **keys: Any) -> Results:
    """Return results whose first trials have these LPIPS at each rung."""
    spec = job(**keys)
    records: list[TrialRecord] = []
    for number in range(max(map(len, rungs.values()))):
        reports = {
            steps: next(iter(trial(number, spec.goals, values[number] / 100).rungs.values()))
            for steps, values in rungs.items()
            if number < len(values)
        }
        records.append(replace(trial(number, spec.goals, 0.5), rungs=reports))
    return results(spec, records)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=MIN_TRIALS, max_size=40))
def test_it_is_spearmans_correlation(pairs: list[tuple[int, int]]) -> None:
    """The value is scipy's, with ties; without any order at a rung there is none."""
    first, last = zip(*pairs, strict=True)
    found = rung_correlations(run_with({10: first, 90: last}))
    if min(len(set(first)), len(set(last))) == 1:
        assert not found
        return
    assert found[0].correlation == pytest.approx(spearmanr(first, last).statistic, abs=1e-9)
    assert found[0].trials == found[0].reported == len(pairs)


def test_the_last_rung_that_enough_trials_reached_counts() -> None:
    """Each rung is compared with the last rung of at least eight trials, and says how many."""
    found = rung_correlations(run_with({10: ORDER * 3, 30: ORDER, 90: ORDER[:7]}))
    assert [(c.steps, c.later, c.trials, c.reported) for c in found] == [(10, 30, 10, 30)]
    assert rung_correlations(run_with({10: ORDER, 30: ORDER[:7]})) == []


def test_presets_and_finals_do_not_count() -> None:
    """Only trials that the search chose are compared, also those that failed later."""
    run = run_with({10: ORDER, 90: ORDER})
    preset, final, failed, *others = run.records
    preset = replace(preset, preset="gatys-2016")
    final = replace(final, final_of=2)
    failed = replace(failed, state="failed")
    changed = replace(run, records=[preset, final, failed, *others])
    assert [c.trials for c in rung_correlations(changed)] == [8]


def test_a_poor_rung_is_named_everywhere() -> None:
    """Tables, verdict and JSON name a rung that ranks poorly, and a better first rung."""
    run = run_with({10: OTHER, 30: ORDER, 90: ORDER})
    warning = rung_warning(run)
    assert warning is not None and "The rung at 10 steps" in warning
    assert "`halving: {min_steps: 30}`" in warning
    assert warning in " ".join(summary(run))
    for content in (status_json(run), best_json(run)):
        assert warning in content["verdict"]
    for table in (best_table(run, 3), status_table(run)):
        assert "may stop good trials" in " ".join(printed(table, 400).split())
    assert "10 and 90 steps: " in printed(status_table(run), 200)
    listed = json.loads(json.dumps(status_json(run)))["rung_correlations"]
    assert [(c["steps"], c["later"], c["trials"]) for c in listed] == [(10, 90, 10), (30, 90, 10)]


def test_no_warning_without_a_reason() -> None:
    """Nothing is said of rungs that rank well, or where no trial is stopped at a rung."""
    assert rung_warning(run_with({10: ORDER, 90: ORDER})) is None
    assert rung_warning(run_with({10: OTHER, 90: ORDER}, halving={"rule": "none"})) is None


def test_chance_alone_is_no_reason() -> None:
    """A low correlation counts if chance does not explain it: of many trials, not of a few."""
    middling = [2, 7, 1, 5, 0, 9, 4, 3, 6, 8]  # rank correlation of 0.38 with ORDER
    assert rung_warning(run_with({10: middling, 90: ORDER})) is None
    assert rung_warning(run_with({10: middling * 20, 90: ORDER * 20})) is not None
    assert not RungCorrelation(steps=1, later=2, correlation=1.0, trials=8, reported=8).poor
    assert RungCorrelation(steps=1, later=2, correlation=-1.0, trials=8, reported=8).poor


def test_the_warning_says_that_stopped_trials_are_missing() -> None:
    """If only promoted trials reached the later rung, the warning says so."""
    everyone = rung_warning(run_with({10: OTHER, 90: ORDER}))
    promoted = rung_warning(run_with({10: [*OTHER, *ORDER], 90: ORDER}))
    assert everyone is not None and "promoted" not in everyone
    assert promoted is not None and "over 10 trials that were promoted" in promoted
