"""Decisions of a run: what is tried, judged, promoted, repeated and kept."""

import errno
import math
import os
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from nst_core.errors import ConfigError
from nst_core.presets.built_in import BASELINES
from search_spaces import Space
from tests.tuner.helpers import (
    Recorder,
    make_search,
    noisy_space,
    play,
    promoting,
    quality,
    report,
)
from tuner.job.load import load_job
from tuner.run.replay import check_replay
from tuner.search.halving import Decision
from tuner.study.journal import BatchingJournal
from tuner.study.study import load_records


def outcome(folder: Path) -> list[tuple[object, ...]]:
    records, _ = load_records(folder)
    return [(r.trial, r.state, str(r.params), tuple(r.rungs.items())) for r in records]


def test_presets_run_first_and_to_their_end(job_file: Path, tmp_path: Path) -> None:
    """The first trials are the presets, each exactly once, and they are never pruned."""
    play(make_search(job_file, tmp_path), lambda plan, steps: 9.0 if plan.trial < 2 else 0.1)
    records, _ = load_records(tmp_path)
    assert [r.preset for r in records[:3]] == [*list(BASELINES)[:2], None]
    assert [r.state for r in records[:2]] == ["complete", "complete"]
    assert [r.params for r in records[2:5]] == list(load_job(job_file)[1].initial_points)
    assert records[0].config["size_px"] == 64
    assert records[0].note == "6 of its 1000 steps"
    assert len(records) == 8


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random"])
def test_partial_starts_are_completed(job_file: Path, tmp_path: Path, sampler: str) -> None:
    """What a start leaves open is drawn, after a break like before it; the rest is as given."""
    overrides = (f"search.sampler={sampler}", "space=optimizers")
    starts = load_job(job_file, overrides)[1].initial_points
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
    callback = Recorder()
    search = make_search(job_file, tmp_path, callback=callback)
    plan = search.next()
    failed = replace(report(plan, 2, 0.0), failure="step 2: diverged", scores={})
    assert search.report(failed, lambda: []) is Decision.STOP
    assert search.report(report(plan, 2, 0.0), lambda: []) is Decision.STOP
    play(search, quality)
    records, _ = load_records(tmp_path)
    assert (records[0].state, records[0].reason) == ("failed", "step 2: diverged")
    assert ("ended", 0, "failed", "step 2: diverged") in callback.events


def test_images_are_of_the_best_rung(job_file: Path, tmp_path: Path) -> None:
    """The image kept is the one with the best score, not the last one."""
    search = make_search(job_file, tmp_path, presets=1)
    plan = search.next()
    for steps, value in ((2, 0.5), (6, 0.9)):
        search.report(report(plan, steps, value), lambda s=steps: [b"step %d" % s])
    assert (tmp_path / "trials/0000/pair0.png").read_bytes() == b"step 2"


def test_lanes_outlive_a_decision_that_was_not_written(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is full when a trial ends its lanes stay, and it goes on from them."""
    search = make_search(job_file, tmp_path, presets=0)
    plan = search.next()
    search.keep_lanes(plan.trial, b"lanes")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(BatchingJournal, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        search.report(report(plan, 6, 0.5), lambda: [b"png"])
    monkeypatch.undo()
    again = make_search(job_file, tmp_path, presets=0)
    assert again.next().trial == plan.trial
    assert again.kept_lanes(plan.trial) == b"lanes"
    again.report(report(plan, 6, 0.5), lambda: [b"png"])
    assert load_records(tmp_path)[0][0].state == "complete"
    assert again.kept_lanes(plan.trial) is None


def test_a_recorded_run_can_be_replayed(job_file: Path, tmp_path: Path) -> None:
    """With another sampler seed, a replay still tries exactly the recorded configurations."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    play(make_search(job_file, tmp_path / "first"), quality, lanes=3)
    job, space = load_job(job_file, ["search.replay=first", "search.seed=99"])
    recorded, _ = load_records(tmp_path / "first")
    replay = check_replay(job, space, recorded, presets=2)
    play(make_search(job_file, tmp_path / "second", replay=replay), lambda *_: 0.3)
    again, _ = load_records(tmp_path / "second")
    assert [r.params for r in again] == [r.params for r in recorded]
    assert [r.config for r in again] == [r.config for r in recorded]
    longer, _ = load_job(job_file, ["search.replay=first", "search.trials=9"])
    with pytest.raises(ConfigError, match="has 6 trials, expected at least the 7"):
        check_replay(longer, space, recorded, presets=2)


def test_a_replay_with_fewer_trials_than_begun_ends(job_file: Path, tmp_path: Path) -> None:
    """A run that is resumed with fewer trials takes up those under way that have no point left."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    play(make_search(job_file, tmp_path / "first"), quality)
    recorded, _ = load_records(tmp_path / "first")
    replay = [record.params for record in recorded if record.searched]
    search = make_search(job_file, tmp_path / "second", replay=replay)
    while search.next():  # all begin, and none reports
        pass
    again = make_search(job_file, tmp_path / "second", "search.trials=3", replay=replay[:1])
    play(again, quality)
    assert again.over


def test_an_extended_run_can_be_replayed(job_file: Path, tmp_path: Path) -> None:
    """Finals stand between the trials of a run that was extended; what it searched is replayed."""
    finals = ("finals.count=1", "finals.seeds=2", noisy_space(tmp_path))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    play(make_search(job_file, tmp_path / "first", *finals), quality)
    longer = (*finals, "search.trials=12")
    play(make_search(job_file, tmp_path / "first", *longer), quality)
    job, space = load_job(job_file, ["search.replay=first", *longer])
    recorded, _ = load_records(tmp_path / "first")
    assert recorded[-1].final_of is not None and not recorded[8].searched
    replay = check_replay(job, space, recorded, presets=2)
    play(make_search(job_file, tmp_path / "second", *longer, replay=replay), quality)
    again, _ = load_records(tmp_path / "second")
    assert [r.params for r in again if r.searched] == [r.params for r in recorded if r.searched]
    assert len(replay) == 10


def test_an_extended_run_tries_every_start(job_file: Path, tmp_path: Path) -> None:
    """Finals take numbers, and no start of the space is left out for that."""
    starts = [{"lr": 0.02 + 0.01 * index, "log10_style_content": 0.5} for index in range(5)]
    options = ("finals.count=1", "finals.seeds=1", noisy_space(tmp_path))
    for trials in (4, 9):
        asked = (*options, f"search.trials={trials}")
        play(make_search(job_file, tmp_path, *asked, initial_points=starts), quality)
    records, _ = load_records(tmp_path)
    tried = [record.params["lr"] for record in records if record.searched]
    assert tried[:5] == pytest.approx([start["lr"] for start in starts])


def test_what_is_no_configuration_fails_its_trial_alone(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should values that do not go together pass the checks of a space, their trial fails alone."""
    monkeypatch.setattr(Space, "try_ends", lambda _: None)
    space = """
    name: odd
    why: Fits but for three values together.
    params:
      pooling: {options: [max, average]}
      style_set: {options: [relu1_1-5_1, relu1_1-3_1]}
      style_scheme: {options: [equal, explicit]}
      log10_layer_4: {low: -1, high: 1, when: {pooling: average, style_scheme: explicit}}
    """
    file = tmp_path / "odd.yaml"
    file.write_text(textwrap.dedent(space))
    options = (f"space={file}", "search.sampler=random", "search.trials=40", "finals.count=0")
    play(make_search(job_file, tmp_path, *options), lambda *_: 0.3)
    records, _ = load_records(tmp_path)
    failed = [record for record in records if record.state == "failed"]
    assert failed and len(records) == 40
    assert all("only 3 style layers" in str(record.reason) for record in failed)
    assert make_search(job_file, tmp_path, *options).over


def test_the_best_of_each_rung_go_on(job_file: Path, tmp_path: Path) -> None:
    """Of 18 trials at random the best six come to the second rung, whoever came first."""
    options = ("halving.min_steps=2", "search.sampler=random")
    play(promoting(job_file, tmp_path, *options), quality, lanes=4)
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


def test_a_promotion_is_not_taken_back(job_file: Path, tmp_path: Path) -> None:
    """A promoted trial that loses its engine goes on, however good others are by then."""
    search = promoting(job_file, tmp_path)
    values = {0: 0.5, 1: 0.7, 2: 0.6, 3: 0.1, 4: 0.2, 5: 0.3}
    plans = {}
    for trial in range(3):
        plans[trial] = search.next()
        search.report(report(plans[trial], 2, values[trial]), lambda: [b"png"])
    promoted = search.next()
    assert (promoted.trial, promoted.rungs[0]) == (0, 6)
    begun = [search.next() for _ in range(3)]
    for plan in begun:
        search.report(report(plan, 2, values[plan.trial]), lambda: [b"png"])
    search.interrupted(0)
    again = search.next()
    assert (again.trial, again.rungs) == (0, promoted.rungs)
    revived = promoting(job_file, tmp_path)
    assert revived.next().trial == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_fails(job_file: Path, tmp_path: Path, value: float) -> None:
    """A score that is no number ends the trial as failed, at once and with the reason."""
    search = promoting(job_file, tmp_path)
    plan = search.next()
    assert search.report(report(plan, 2, value), lambda: []) is Decision.STOP
    (record,) = load_records(tmp_path)[0]
    assert record.state == "failed"
    assert record.reason == "step 2: lpips is not a finite number"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "cmaes"])
def test_samplers_know_what_waiting_trials_break(
    job_file: Path, tmp_path: Path, sampler: str
) -> None:
    """With bounds on scores, samplers draw on while most trials wait at a rung, or were pruned."""
    options = (f"search.sampler={sampler}", 'constraints={ssim: ">= 0.4"}', noisy_space(tmp_path))
    search = promoting(job_file, tmp_path, *options)
    while plan := search.next():
        steps = 0
        going = Decision.CONTINUE
        while going is Decision.CONTINUE:
            steps = plan.next_rung(steps)
            told = report(plan, steps, quality(plan, steps))
            kept = {**told.scores, "ssim": 0.6 if plan.trial % 2 else 0.2}
            going = search.report(replace(told, scores=kept), lambda: [b"png"])
    records, _ = load_records(tmp_path)
    assert len(records) == 18
    assert {r.state for r in records} == {"complete", "pruned"}


def test_a_finished_run_can_be_extended(job_file: Path, tmp_path: Path) -> None:
    """With a higher target the search goes on where it was; what was found is not run again."""
    play(promoting(job_file, tmp_path), quality)
    longer = make_search(job_file, tmp_path, "search.trials=21", presets=0)
    play(longer, quality)
    records, _ = load_records(tmp_path)
    assert len(records) == 21
    assert longer.over


def test_images_of_a_trade_off(job_file: Path, tmp_path: Path) -> None:
    """In a Pareto search the images of every report are kept, as any may be the one to choose."""
    search = promoting(job_file, tmp_path, "objective=[lpips, seconds_per_image]")
    plan = search.next()
    search.report(report(plan, 2, 0.5), lambda: [b"png"])
    folder = tmp_path / "trials" / f"{plan.trial:04d}"
    assert {path.name for path in folder.iterdir()} == {"pair0.png", "steps-00002-pair0.png"}


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
