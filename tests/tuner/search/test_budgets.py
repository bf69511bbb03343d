"""When a search ends: by target, patience, time and cost."""

from dataclasses import replace
from pathlib import Path

import pytest

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from tests.tuner.helpers import (
    Recorder,
    make_search,
    play,
    promoting,
    quality,
    report,
)
from tuner.job.load import load_job
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job
from tuner.sampling.study_view import Trials
from tuner.search.halving import Decision
from tuner.search.protocol import Plan
from tuner.study.records import Report
from tuner.study.storage import load_study
from tuner.study.study import load_records


def test_the_time_budget_counts_all_launches(job_file: Path, tmp_path: Path) -> None:
    """Once the minutes are spent, no trial starts and running ones stop, after a resume too."""
    now = 0.0

    def clock() -> float:
        return now

    search = make_search(job_file, tmp_path, "budget.minutes=1", clock=clock)
    first, second = search.next(), search.next()
    now = 50.0
    assert search.report(report(first, 2, 0.5), lambda: []) is Decision.CONTINUE
    now = 70.0
    assert search.report(report(second, 2, 0.5), lambda: []) is Decision.STOP
    assert search.next() is None
    now = 0.0
    again = make_search(job_file, tmp_path, "budget.minutes=1", clock=clock)
    assert again.next() is None
    assert again.over


def test_a_time_limit_counts_what_was_worked_before_it_was_set(
    job_file: Path, tmp_path: Path
) -> None:
    """It is one of all launches, also of those that had none."""
    now = 0.0
    search = make_search(job_file, tmp_path, clock=lambda: now)
    plan = search.next()
    assert plan is not None
    now = 120.0
    search.report(report(plan, 2, 0.5), lambda: [])
    again = make_search(job_file, tmp_path, "budget.minutes=1", clock=lambda: now)
    assert again.next() is None and again.reason == "the time budget was spent"


@pytest.mark.parametrize(
    ("limit", "reason", "trials"),
    [
        ("budget.target=0.5", "the target was reached by trial 4", 5),
        ("budget.patience=3", "3 trials brought nothing better than trial 4", 8),
        ("budget.engine_seconds=12", "the budget of engine seconds was spent", 6),
    ],
)
def test_a_run_stops_early(
    job_file: Path, tmp_path: Path, limit: str, reason: str, trials: int
) -> None:
    """A run ends by target, by patience or by cost, says why, and stays over when resumed."""

    def values(plan: Plan, _: int) -> float:
        return 0.4 if plan.trial == 4 else 2.0 - plan.trial / 10

    options = ("halving.min_steps=2", "halving.max_steps=2", limit)
    search = promoting(job_file, tmp_path, *options)
    play(search, values)
    assert search.over
    assert search.reason == reason
    assert len(load_records(tmp_path)[0]) == trials
    assert promoting(job_file, tmp_path, *options).next() is None


def test_patience_counts_those_that_wait(job_file: Path, tmp_path: Path) -> None:
    """Trials that were passed and wait count like ended ones, before a restart and after."""
    options = ("halving.max_steps=18", "budget.patience=5")

    def values(plan: Plan, steps: int) -> float:
        return plan.trial + (1 if plan.trial else 0)

    play(promoting(job_file, tmp_path, *options), values, limit=4)
    search = promoting(job_file, tmp_path, *options)
    play(search, values)
    assert search.reason == "5 trials brought nothing better than trial 0"
    assert len(load_records(tmp_path)[0]) == 6


def test_patience_begins_anew_with_every_gain(job_file: Path, tmp_path: Path) -> None:
    """A trial that waited and then brings the best counts from then on, after a restart too."""
    options = ("halving.max_steps=18", "budget.patience=5")

    def values(plan: Plan, steps: int) -> float:
        return plan.trial + 1 / steps

    search = promoting(job_file, tmp_path, *options)
    play(search, values, limit=11)
    records, _ = load_records(tmp_path)
    gained = max(records[0].rungs)
    assert gained > 2  # trial 0 went on after others had come, and that was a gain
    again = promoting(job_file, tmp_path, *options)
    play(search, values)
    assert search.reason == "5 trials brought nothing better than trial 0"
    begun = len(load_records(tmp_path)[0])
    assert begun > 6
    (tmp_path / "broken").mkdir()
    broken = promoting(job_file, tmp_path / "broken", *options)
    play(broken, values, limit=11)
    again = promoting(job_file, tmp_path / "broken", *options)
    play(again, values)
    assert len(load_records(tmp_path / "broken")[0]) == begun


def test_patience_with_several_objectives(job_file: Path, tmp_path: Path) -> None:
    """As long as the front grows anywhere, a Pareto search has not come to an end."""
    options = ("objective=[lpips, seconds_per_image]", "budget.patience=4", "halving.rule=none")
    search = promoting(job_file, tmp_path, *options, "halving.min_steps=2", "halving.max_steps=2")
    while plan := search.next():
        told = report(plan, 2, 0.5 + plan.trial)
        cheaper = max(1.0, 8.0 - plan.trial)  # worse and worse, but cheaper for a while
        told = replace(told, scores={**told.scores, "seconds_per_image": cheaper})
        search.report(told, lambda: [b"png"])
    assert search.reason == "4 trials brought nothing better than the trade-off so far"
    assert len(load_records(tmp_path)[0]) == 8 + 4


def test_what_failed_costs_too(job_file: Path, tmp_path: Path) -> None:
    """Engine seconds of trials that failed are spent; those of finals are not, after a resume."""
    options = ("budget.engine_seconds=20", "halving.max_steps=6", "finals.count=1")
    search = promoting(job_file, tmp_path, *options)
    first = search.next()
    search.report(Report(trial=first.trial, steps=3, seconds=15.0, failure="NaN"), list)
    assert load_records(tmp_path)[0][0].seconds == 15
    again = promoting(job_file, tmp_path, *options)
    play(again, quality)
    records, _ = load_records(tmp_path)
    assert again.reason == "the budget of engine seconds was spent"
    assert sum(record.seconds for record in records if record.searched) < 20 + 6
    assert records[-1].final_of is not None
    more = make_search(job_file, tmp_path, "search.trials=30", *options[1:], presets=0)
    assert not more.over
    spent = sum(record.seconds for record in records if record.final_of is None)
    left = (f"budget.engine_seconds={spent + 1}", "search.trials=30", *options[1:])
    assert not make_search(job_file, tmp_path, *left, presets=0).over


def test_a_costly_trial_ends_as_soon_as_it_breaks_its_bound(job_file: Path, tmp_path: Path) -> None:
    """Costs do not fall, so what is over the bound stops; its earlier rungs stay good."""
    bound = ("halving.rule=none", "halving.max_steps=18", "constraints.seconds_per_image=<= 3")
    play(promoting(job_file, tmp_path, *bound), quality)
    records, _ = load_records(tmp_path)
    goals = load_job(job_file, bound)[0].goals
    assert {r.reason for r in records} == {"breaks seconds_per_image <= 3 at step 6"}
    assert {r.best_rung(goals)[0] for r in records} == {2}
    (tmp_path / "large").mkdir()
    play(promoting(job_file, tmp_path / "large", "constraints.vram_gb=<= 0.5"), quality)
    assert {r.reason for r in load_records(tmp_path / "large")[0]} == {
        "breaks vram_gb <= 0.5 at step 2"
    }


def test_what_is_known_to_break_a_bound_does_not_begin(job_file: Path, tmp_path: Path) -> None:
    """A trial whose known memory breaks its bound takes no step, a preset neither; it says why."""

    def costs(config: StyleConfig) -> dict[str, float]:
        return {"vram_gb": 9.0 if config.lr > 0.02 or config.optimizer == "lbfgs" else 1.0}

    bound = "constraints.vram_gb=<= 2"
    search = make_search(job_file, tmp_path, "search.trials=30", bound, presets=4, costs=costs)
    play(search, quality)
    records, _ = load_records(tmp_path)
    beyond = [record for record in records if not record.rungs]
    assert 0 < len(beyond) < len(records)
    assert any(record.preset for record in beyond) and any(record.searched for record in beyond)
    for record in records:
        assert (record in beyond) == (costs(StyleConfig.from_dict(record.config))["vram_gb"] > 2)
    assert {(record.state, record.reason) for record in beyond} == {
        ("pruned", "breaks vram_gb <= 2 before its first step: vram_gb 9")
    }
    # The sampler learns to avoid them, as it avoids what goes wrong.
    trials = load_study(tmp_path).study.get_trials()
    told = Trials(search.goals).tried(trials, drawn=-1)
    assert [one.params for one in told if one.failed] == [r.params for r in beyond if r.searched]


def test_gpu_memory_is_refused_where_there_is_no_gpu(job_file: Path, tmp_path: Path) -> None:
    """On CPUs a bound on GPU memory means nothing: a new run is refused, and nothing is left."""
    for device in ("cpu", "auto"):
        job, space = load_job(
            job_file,
            ["search.presets=false", "constraints.vram_gb=<= 8", f"resources.device={device}"],
        )
        with pytest.raises(
            InputError, match=r"constraints: vram_gb is the memory of a GPU.*remove"
        ):
            run_job(job, space, tmp_path / "run", InlineBackend(), callback=Recorder(), say=print)
        assert not (tmp_path / "run").exists()
