import math
from dataclasses import replace
from pathlib import Path

import pytest

from nst_core.built_in import BASELINES
from nst_core.errors import ConfigError
from tests.tuner.helpers import Recorder, make_search, play, report
from tuner.jobfile import load_job
from tuner.search import Plan, check_replay
from tuner.study import load_records


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
    assert not search.report(failed, lambda: [])
    assert not search.report(report(plan, 2, 0.0), lambda: [])
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
    assert search.report(report(first, 2, 0.5), lambda: [])
    now = 70.0
    assert not search.report(report(second, 2, 0.5), lambda: [])
    assert search.next() is None
    assert search.exhausted
    now = 0.0
    again = make_search(job_file, tmp_path, "budget.minutes=1", clock=clock)
    assert again.exhausted


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
