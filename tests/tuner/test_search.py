import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nst_core.built_in import BASELINES
from nst_core.errors import ConfigError
from tests.tuner.helpers import Recorder, make_search, play, report
from tuner.halving import Decision
from tuner.jobfile import load_job
from tuner.objective import Goals, Objective
from tuner.plan import Plan
from tuner.replay import check_replay
from tuner.search import Search
from tuner.study import load_records

GOALS = Goals(objectives=[Objective(weights={"lpips": 1.0})])


def quality(plan: Plan, steps: int) -> float:
    """A made-up score: best near a learning rate of 0.03, better with steps."""
    return abs(math.log10(plan.config.lr / 0.03)) + 1 / steps


def outcome(folder: Path) -> list[tuple[object, ...]]:
    records, _ = load_records(folder)
    return [(r.trial, r.state, str(r.params), tuple(r.rungs.items())) for r in records]


def test_presets_run_first_and_to_their_end(job_file: Path, tmp_path: Path) -> None:
    """The first trials are the presets, each exactly once, and they are never pruned."""
    play(make_search(job_file, tmp_path), lambda plan, steps: 9.0 if plan.trial < 2 else 0.1)
    records, _ = load_records(tmp_path)
    assert [r.preset for r in records[:3]] == [*list(BASELINES)[:2], None]
    assert [r.state for r in records[:2]] == ["complete", "complete"]
    assert [r.params for r in records[2:5]] == list(load_job(job_file)[1].starts)
    assert records[0].config["size_px"] == 64
    assert records[0].note == "6 of its 1000 steps"
    assert len(records) == 8


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_partial_starts_are_completed(job_file: Path, tmp_path: Path, sampler: str) -> None:
    """What a start leaves open is drawn, after a break like before it; the rest is as given."""
    overrides = (f"search.sampler={sampler}", "space=optimizers")
    starts = load_job(job_file, overrides)[1].starts
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    play(make_search(job_file, tmp_path / "whole", *overrides), quality)
    records, _ = load_records(tmp_path / "whole")
    assert len(records) == 2 + len(starts) + 1
    for record, start in zip(records[2:], starts, strict=False):
        assert start.items() <= record.params.items()
        assert len(record.params) > len(start)
    play(make_search(job_file, tmp_path / "broken", *overrides), quality, limit=7)
    play(make_search(job_file, tmp_path / "broken", *overrides), quality)
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")


def test_the_worse_are_pruned_with_all_rungs_reported(job_file: Path, tmp_path: Path) -> None:
    """A trial among the worse at a rung ends there as pruned, with its reason."""
    play(make_search(job_file, tmp_path), quality)
    records, _ = load_records(tmp_path)
    pruned = [r for r in records if r.state == "pruned"]
    assert pruned
    for record in pruned:
        assert max(record.rungs) < 6
        assert record.reason == f"not among the best at step {max(record.rungs)}"


@pytest.mark.parametrize("lanes", [1, 3])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    job_file: Path, tmp_path: Path, lanes: int
) -> None:
    """Stopped after any report and taken up again, a one-lane run has the very same trials."""
    whole = tmp_path / "whole"
    whole.mkdir()
    total = play(make_search(job_file, whole), quality, lanes=lanes)
    for stop in range(1, total, 3):
        broken = tmp_path / f"broken{stop}"
        broken.mkdir()
        play(make_search(job_file, broken), quality, lanes=lanes, limit=stop)
        play(make_search(job_file, broken), quality, lanes=lanes)
        found = outcome(broken)
        assert [f[0] for f in found] == list(range(8))
        assert all(f[1] in ("complete", "pruned") for f in found)
        if lanes == 1:
            assert found == outcome(whole)


def test_failures_are_recorded_and_harmless(job_file: Path, tmp_path: Path) -> None:
    """A failed trial is told as failed with its reason and never counts as best."""
    watcher = Recorder()
    search = make_search(job_file, tmp_path, watcher=watcher)
    plan = search.next()
    failed = replace(report(plan, 2, 0.0), failure="step 2: diverged", scores={})
    assert search.report(failed, lambda: []) is Decision.STOP
    assert search.report(report(plan, 2, 0.0), lambda: []) is Decision.STOP
    play(search, quality)
    records, _ = load_records(tmp_path)
    assert (records[0].state, records[0].reason) == ("failed", "step 2: diverged")
    assert ("ended", 0, "failed", "step 2: diverged") in watcher.events


def test_images_are_of_the_best_rung(job_file: Path, tmp_path: Path) -> None:
    """The image kept is the one with the best score, not the last one."""
    search = make_search(job_file, tmp_path, presets=1)
    plan = search.next()
    for steps, value in ((2, 0.5), (6, 0.9)):
        search.report(report(plan, steps, value), lambda s=steps: [b"step %d" % s])
    assert (tmp_path / "trials/0000/pair0.png").read_bytes() == b"step 2"


def test_the_time_budget_counts_all_launches(job_file: Path, tmp_path: Path) -> None:
    """Once the minutes are spent, no trial starts and running ones stop, after a resume too."""
    now = 0.0

    def clock() -> float:
        return now

    search = make_search(job_file, tmp_path, "budget.minutes=1", clock=clock)
    first, second = search.next(), search.next()
    now = 50.0
    assert search.report(report(first, 2, 0.5), lambda: []) is Decision.GO_ON
    now = 70.0
    assert search.report(report(second, 2, 0.5), lambda: []) is Decision.STOP
    assert search.next() is None
    now = 0.0
    again = make_search(job_file, tmp_path, "budget.minutes=1", clock=clock)
    assert again.next() is None
    assert again.over


def test_a_recorded_run_can_be_replayed(job_file: Path, tmp_path: Path) -> None:
    """With another sampler seed, a replay still tries exactly the recorded configurations."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    play(make_search(job_file, tmp_path / "first"), quality, lanes=3)
    job, space = load_job(job_file, ["search.replay=first", "search.seed=99"])
    recorded, _ = load_records(tmp_path / "first")
    replay = check_replay(job, space, recorded)
    play(make_search(job_file, tmp_path / "second", replay=replay), lambda *_: 0.3)
    again, _ = load_records(tmp_path / "second")
    assert [r.params for r in again] == [r.params for r in recorded]
    assert [r.config for r in again] == [r.config for r in recorded]
    longer, _ = load_job(job_file, ["search.replay=first", "search.trials=9"])
    with pytest.raises(ConfigError, match="holds 8 trials"):
        check_replay(longer, space, recorded)


def promoting(job_file: Path, folder: Path, *overrides: str, **options: Any) -> Search:
    """A search without presets and finals, unless they are asked for."""
    options.setdefault("presets", 0)
    return make_search(job_file, folder, "search.trials=18", *overrides, **options)


def test_the_best_of_each_rung_go_on(job_file: Path, tmp_path: Path) -> None:
    """Of 18 trials the best six come to the second rung, whoever came first."""
    play(promoting(job_file, tmp_path, "halving.min_steps=2"), quality, lanes=4)
    records, _ = load_records(tmp_path)
    first = {r.trial: r.rungs[2].objective for r in records}
    second = {r.trial for r in records if 6 in r.rungs}
    assert set(sorted(first, key=first.__getitem__)[:6]) <= second
    assert len(second) <= 9  # a few that led for a while as well
    assert {r.state for r in records} == {"complete", "pruned"}


def test_a_waiting_trial_waits_through_a_restart(job_file: Path, tmp_path: Path) -> None:
    """What waited when the driver died waits on, without running again, and may be promoted."""
    search = promoting(job_file, tmp_path)
    plans = [search.next() for _ in range(3)]
    for plan, value in zip(plans, (0.3, 0.2, 0.1), strict=True):
        search.report(report(plan, 2, value), lambda: [])
    assert search.running == (2,)  # the third is the best of three and goes on
    again = promoting(job_file, tmp_path)
    assert set(again.unfinished) == {0, 1, 2}
    taken_up = again.next()
    assert (taken_up.trial, taken_up.rungs) == (2, (6,))
    for value in (0.9, 0.8, 0.7):
        again.report(report(again.next(), 2, value), lambda: [])
    promoted = again.next()
    assert (promoted.trial, promoted.rungs) == (1, (6,))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_fails(job_file: Path, tmp_path: Path, value: float) -> None:
    """A score that is no number ends the trial as failed, at once and with the reason."""
    search = promoting(job_file, tmp_path)
    plan = search.next()
    assert search.report(report(plan, 2, value), lambda: []) is Decision.STOP
    (record,) = load_records(tmp_path)[0]
    assert record.state == "failed"
    assert record.reason == "step 2: the objective is not a finite number"


@pytest.mark.parametrize(
    ("limit", "reason", "trials"),
    [
        ("budget.target=0.5", "the target was reached by trial 4", 5),
        ("budget.patience=3", "3 trials ended without a better one than trial 4", 8),
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


def test_finals(job_file: Path, tmp_path: Path) -> None:
    """The best are run again to their best step, once for each seed, and only once."""
    finals = ("finals.count=2", "finals.seeds=3")
    search = promoting(job_file, tmp_path, *finals)
    plans: list[Plan] = []

    def noted(plan: Plan, steps: int) -> float:
        plans.append(plan)
        return quality(plan, steps)

    play(search, noted, lanes=3)
    records, _ = load_records(tmp_path)
    ends = [r for r in records if r.final_of is not None]
    assert len(records) == 18 + 6
    assert sorted(Counter(r.final_of for r in ends).values()) == [3, 3]
    assert sorted(r.config["seed"] for r in ends) == [0, 0, 1, 1, 2, 2]
    best = min((r for r in records if r.searched), key=lambda r: r.best_rung(GOALS)[1].objective)
    assert best.trial in {r.final_of for r in ends}
    assert all(plan.holdout == (plan.trial >= 18) for plan in plans)
    assert promoting(job_file, tmp_path, *finals).next() is None


def test_a_finished_run_can_be_extended(job_file: Path, tmp_path: Path) -> None:
    """With a higher target the search goes on where it was; what was found is not run again."""
    play(promoting(job_file, tmp_path), quality)
    longer = make_search(job_file, tmp_path, "search.trials=21", presets=0)
    play(longer, quality)
    records, _ = load_records(tmp_path)
    assert len(records) == 21
    assert longer.over


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


def test_several_objectives(job_file: Path, tmp_path: Path) -> None:
    """A Pareto search keeps what only one objective is best in, and stays over when resumed."""
    both = "objective=[lpips, rmse]"
    search = promoting(job_file, tmp_path, both)
    active = {plan.trial: plan for _ in range(18) if (plan := search.next())}
    for number, plan in active.items():
        scores = {"lpips": float(number), "rmse": float(17 - number)}
        if number == 9:
            scores = {"lpips": 20.0, "rmse": 20.0}  # worse than any other in both
        told = replace(report(plan, 2, 0.0), scores=scores, pair_scores=[scores])
        search.report(told, lambda: [b"png"])
    waiting = set(search.unfinished)
    assert {0, 17} <= waiting
    assert 9 not in waiting
    play(promoting(job_file, tmp_path, both), quality)
    assert promoting(job_file, tmp_path, both).next() is None
    assert {r.state for r in load_records(tmp_path)[0]} == {"complete", "pruned"}
