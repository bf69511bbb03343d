"""When a search ends: target, patience, time and engine seconds."""

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
from tuner.search.halving import Decision
from tuner.search.protocol import Plan
from tuner.study.records import Report
from tuner.study.study import load_records


def test_the_time_budget_counts_all_launches(job_file: Path, tmp_path: Path) -> None:
    """Once the minutes are spent no trial starts and running ones stop, also after a resume."""
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


def test_a_time_limit_counts_earlier_launches_without_one(job_file: Path, tmp_path: Path) -> None:
    """A time limit that is set for a resume counts the working time of all launches."""
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
    """A run that ends early says why, and stays over when it is resumed."""

    def values(plan: Plan, _: int) -> float:
        return 0.4 if plan.trial == 4 else 2.0 - plan.trial / 10

    options = ("halving.min_steps=2", "halving.max_steps=2", limit)
    search = promoting(job_file, tmp_path, *options)
    play(search, values)
    assert search.over
    assert search.reason == reason
    assert len(load_records(tmp_path)[0]) == trials
    assert promoting(job_file, tmp_path, *options).next() is None


def test_patience_counts_paused_trials(job_file: Path, tmp_path: Path) -> None:
    """Paused trials count like ended ones, before and after a restart."""
    options = ("halving.max_steps=18", "budget.patience=5")

    def values(plan: Plan, steps: int) -> float:
        return plan.trial + (1 if plan.trial else 0)

    play(promoting(job_file, tmp_path, *options), values, limit=4)
    search = promoting(job_file, tmp_path, *options)
    play(search, values)
    assert search.reason == "5 trials brought nothing better than trial 0"
    assert len(load_records(tmp_path)[0]) == 6


def test_patience_begins_anew_with_every_improvement(job_file: Path, tmp_path: Path) -> None:
    """Patience counts from the last improvement, a promoted trial's too, also after a restart."""
    options = ("halving.max_steps=18", "budget.patience=5")

    def values(plan: Plan, steps: int) -> float:
        return plan.trial + 1 / steps

    search = promoting(job_file, tmp_path, *options)
    play(search, values, limit=11)
    records, _ = load_records(tmp_path)
    gained = max(records[0].rungs)
    assert gained > 2  # trial 0 was promoted after others had begun, and improved
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
    """With several objectives a search goes on while any trial is added to the front."""
    options = ("objective=[lpips, seconds_per_image]", "budget.patience=4", "halving.rule=none")
    search = promoting(job_file, tmp_path, *options, "halving.min_steps=2", "halving.max_steps=2")
    while plan := search.next():
        made = report(plan, 2, 0.5 + plan.trial)
        cheaper = max(1.0, 8.0 - plan.trial)  # each trial is worse, and the first eight cheaper
        made = replace(made, scores={**made.scores, "seconds_per_image": cheaper})
        search.report(made, lambda: [b"png"])
    assert search.reason == "4 trials brought nothing better than the trade-off so far"
    assert len(load_records(tmp_path)[0]) == 8 + 4


def test_failed_trials_count_in_the_budget(job_file: Path, tmp_path: Path) -> None:
    """Engine seconds of failed trials count in the budget; those of finals do not."""
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
    options = (f"budget.engine_seconds={spent + 1}", "search.trials=30", *options[1:])
    assert not make_search(job_file, tmp_path, *options, presets=0).over


def test_a_costly_trial_ends_at_its_first_violation(job_file: Path, tmp_path: Path) -> None:
    """A trial stops once its costs, which never fall, exceed a bound; older reports stay valid."""
    bound = ("halving.rule=none", "halving.max_steps=18", "constraints.seconds_per_image=<= 3")
    play(promoting(job_file, tmp_path, *bound), quality)
    records, _ = load_records(tmp_path)
    goals = load_job(job_file, bound)[0].goals
    assert {r.reason for r in records} == {"violates seconds_per_image <= 3 at step 6"}
    assert {r.best_rung(goals)[0] for r in records} == {2}
    (tmp_path / "large").mkdir()
    play(promoting(job_file, tmp_path / "large", "constraints.vram_gb=<= 0.5"), quality)
    assert {r.reason for r in load_records(tmp_path / "large")[0]} == {
        "violates vram_gb <= 0.5 at step 2"
    }


def test_known_costs_are_checked_before_the_first_step(job_file: Path, tmp_path: Path) -> None:
    """A trial or preset whose known memory exceeds its bound is pruned before its first step."""

    def costs(config: StyleConfig) -> dict[str, float]:
        return {"vram_gb": 9.0 if config.lr > 0.02 or config.optimizer == "lbfgs" else 1.0}

    bound = "constraints.vram_gb=<= 2"
    few = ("search.trials=30", "search.sampler=tpe", bound)
    search = make_search(job_file, tmp_path, *few, presets=4, costs=costs)
    play(search, quality)
    records, _ = load_records(tmp_path)
    beyond = [record for record in records if not record.rungs]
    assert 0 < len(beyond) < len(records)
    assert any(record.preset for record in beyond) and any(record.searched for record in beyond)
    for record in records:
        assert (record in beyond) == (costs(StyleConfig.from_dict(record.config))["vram_gb"] > 2)
    assert {(record.state, record.reason) for record in beyond} == {
        ("pruned", "violates vram_gb <= 2 before its first step: vram_gb 9")
    }


def test_gpu_memory_is_refused_where_there_is_no_gpu(job_file: Path, tmp_path: Path) -> None:
    """A bound on GPU memory is refused on a machine without a GPU, and no run is left behind."""
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
