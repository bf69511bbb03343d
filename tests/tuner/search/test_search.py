"""Decisions of a run: which configurations are tried, promoted, pruned and run again."""

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
    """Return state, parameters and reports of every trial of a run."""
    records, _ = load_records(folder)
    return [(r.trial, r.state, str(r.params), tuple(r.rungs.items())) for r in records]


def test_presets_run_first_and_to_their_end(job_file: Path, tmp_path: Path) -> None:
    """The first trials are the presets, each exactly once, and none of them is pruned."""
    play(make_search(job_file, tmp_path), lambda plan, steps: 9.0 if plan.trial < 2 else 0.1)
    records, _ = load_records(tmp_path)
    assert [r.preset for r in records[:3]] == [*list(BASELINES)[:2], None]
    assert [r.state for r in records[:2]] == ["complete", "complete"]
    searched = [r.params for r in records[2:]]
    assert searched == list(load_job(job_file)[1].initial_points)[: len(searched)]
    assert records[0].config["size_px"] == 64
    assert records[0].note == "6 of its 1000 steps"
    assert len(records) == 8


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random"])
def test_partial_initial_points_are_completed(job_file: Path, tmp_path: Path, sampler: str) -> None:
    """Parameters that an initial point leaves out are drawn, the same ones after a resume."""
    overrides = (f"search.sampler={sampler}", "space=optimizers")
    points = load_job(job_file, overrides)[1].initial_points
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    play(make_search(job_file, tmp_path / "whole", *overrides), quality)
    records, _ = load_records(tmp_path / "whole")
    assert len(records) == 2 + len(points) + 1
    for record, point in zip(records[2:], points, strict=False):
        assert point.items() <= record.params.items()
        assert len(record.params) > len(point)
    play(make_search(job_file, tmp_path / "broken", *overrides), quality, limit=7)
    play(make_search(job_file, tmp_path / "broken", *overrides), quality)
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")


def test_a_prior_begins_after_the_initial_points(job_file: Path, tmp_path: Path) -> None:
    """The first trial that the sampler draws takes its value from the prior, with any sampler."""
    stated = "space={base: gram, prior: {lr: [0.02, sure]}}"
    overrides = (stated, "search.sampler=random", "search.trials=30")
    points = load_job(job_file, overrides)[1].initial_points
    play(make_search(job_file, tmp_path, *overrides), quality)
    drawn = [record.params for record in load_records(tmp_path)[0]][2 + len(points) :]
    lr, space = float(drawn[0]["lr"]), load_job(job_file, overrides)[1]
    ends = space.params["lr"].ends
    share = math.log(lr / 0.02) / math.log(float(ends[1]) / float(ends[0]))
    assert abs(share) < 0.25
    assert [record.params for record in load_records(tmp_path)[0]][2] == points[0]


def test_worse_trials_are_pruned_at_a_rung(job_file: Path, tmp_path: Path) -> None:
    """A trial that is not among the best at a rung ends there as pruned, with the reason."""
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
    """A run with one lane that is killed after any report and resumed has the same trials."""
    whole = tmp_path / "whole"
    whole.mkdir()
    total = play(make_search(job_file, whole), quality, lanes=lanes)
    for stop in range(1, total, 3):
        broken = tmp_path / f"broken{stop}"
        broken.mkdir()
        play(make_search(job_file, broken), quality, lanes=lanes, limit=stop)
        play(make_search(job_file, broken), quality, lanes=lanes)
        trials = outcome(broken)
        assert [trial[0] for trial in trials] == list(range(8))
        assert all(trial[1] in ("complete", "pruned") for trial in trials)
        if lanes == 1:
            assert trials == outcome(whole)


def test_a_failed_trial_is_recorded(job_file: Path, tmp_path: Path) -> None:
    """A failed trial is recorded with its reason, and its later reports are ignored."""
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


def test_images_of_the_best_report_are_kept(job_file: Path, tmp_path: Path) -> None:
    """The images of the report with the best score are kept, not those of the last report."""
    search = make_search(job_file, tmp_path, presets=1)
    plan = search.next()
    for steps, value in ((2, 0.5), (6, 0.9)):
        search.report(report(plan, steps, value), lambda s=steps: [b"step %d" % s])
    assert (tmp_path / "trials/0000/pair0.png").read_bytes() == b"step 2"


def test_lanes_are_kept_until_the_decision_is_written(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk is full when a trial ends, its lanes stay and the trial resumes from them."""
    search = make_search(job_file, tmp_path, presets=0)
    plan = search.next()
    search.save_lanes(plan.trial, b"lanes")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(BatchingJournal, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        search.report(report(plan, 6, 0.5), lambda: [b"png"])
    monkeypatch.undo()
    again = make_search(job_file, tmp_path, presets=0)
    assert again.next().trial == plan.trial
    assert again.saved_lanes(plan.trial) == b"lanes"
    again.report(report(plan, 6, 0.5), lambda: [b"png"])
    assert load_records(tmp_path)[0][0].state == "complete"
    assert again.saved_lanes(plan.trial) is None


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


def test_a_replay_may_be_shortened(job_file: Path, tmp_path: Path) -> None:
    """A replay that is resumed with fewer trials than have begun still runs these to an end."""
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
    """Of an extended run, which has finals between its trials, only the search is replayed."""
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


def test_an_extended_run_tries_every_initial_point(job_file: Path, tmp_path: Path) -> None:
    """Finals take up trial numbers, but no initial point is skipped for that."""
    points = [{"lr": 0.02 + 0.01 * index, "log10_style_content": 0.5} for index in range(5)]
    options = ("finals.count=1", "finals.seeds=1", noisy_space(tmp_path))
    for trials in (4, 9):
        asked = (*options, f"search.trials={trials}")
        play(make_search(job_file, tmp_path, *asked, initial_points=points), quality)
    records, _ = load_records(tmp_path)
    tried = [record.params["lr"] for record in records if record.searched]
    assert tried[:5] == pytest.approx([point["lr"] for point in points])


def test_an_invalid_configuration_fails_only_its_trial(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial with an invalid combination of values fails, and the search continues."""
    monkeypatch.setattr(Space, "try_ends", lambda _: None)
    space = """
    name: odd
    why: Valid except for one combination of three values.
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


def test_the_best_of_each_rung_are_promoted(job_file: Path, tmp_path: Path) -> None:
    """The best six of 18 random trials reach the second rung, in whichever order they reported."""
    options = ("halving.min_steps=2", "search.sampler=random")
    play(promoting(job_file, tmp_path, *options), quality, lanes=4)
    records, _ = load_records(tmp_path)
    first = {r.trial: r.rungs[2].objective for r in records}
    second = {r.trial for r in records if 6 in r.rungs}
    assert set(sorted(first, key=first.__getitem__)[:6]) <= second
    assert len(second) <= 9  # some were among the best for a while
    assert {r.state for r in records} == {"complete", "pruned"}


def test_a_paused_trial_stays_paused_after_a_restart(job_file: Path, tmp_path: Path) -> None:
    """A trial that was paused when the driver died is not run again, and may still be promoted."""
    search = promoting(job_file, tmp_path)
    plans = [search.next() for _ in range(3)]
    for plan, value in zip(plans, (0.3, 0.2, 0.1), strict=True):
        search.report(report(plan, 2, value), lambda: [])
    assert search.running == (2,)  # the third is the best of three and continues
    again = promoting(job_file, tmp_path)
    assert set(again.unfinished) == {0, 1, 2}
    resumed = again.next()
    assert (resumed.trial, resumed.rungs) == (2, (6,))
    for value in (0.9, 0.8, 0.7):
        again.report(report(again.next(), 2, value), lambda: [])
    promoted = again.next()
    assert (promoted.trial, promoted.rungs) == (1, (6,))


def test_a_promotion_is_final(job_file: Path, tmp_path: Path) -> None:
    """A promoted trial that loses its engine is resumed, however good other trials are by then."""
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
def test_a_score_that_is_not_finite_fails(job_file: Path, tmp_path: Path, value: float) -> None:
    """A trial with a score that is not finite fails at once, with the reason."""
    search = promoting(job_file, tmp_path)
    plan = search.next()
    assert search.report(report(plan, 2, value), lambda: []) is Decision.STOP
    (record,) = load_records(tmp_path)[0]
    assert record.state == "failed"
    assert record.reason == "step 2: lpips is not a finite number"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "cmaes"])
def test_samplers_handle_violations_of_paused_trials(
    job_file: Path, tmp_path: Path, sampler: str
) -> None:
    """With constraints on scores, samplers work while most trials are paused or pruned."""
    options = (f"search.sampler={sampler}", 'constraints={ssim: ">= 0.4"}', noisy_space(tmp_path))
    search = promoting(job_file, tmp_path, *options)
    while plan := search.next():
        steps = 0
        decision = Decision.CONTINUE
        while decision is Decision.CONTINUE:
            steps = plan.next_rung(steps)
            made = report(plan, steps, quality(plan, steps))
            scores = {**made.scores, "ssim": 0.6 if plan.trial % 2 else 0.2}
            decision = search.report(replace(made, scores=scores), lambda: [b"png"])
    records, _ = load_records(tmp_path)
    assert len(records) == 18
    assert {r.state for r in records} == {"complete", "pruned"}


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_samplers_handle_failures_with_constraints(
    job_file: Path, tmp_path: Path, sampler: str
) -> None:
    """With constraints on scores, samplers draw on after trials that failed without a score."""
    options = (f"search.sampler={sampler}", 'constraints={ssim: ">= 0.4"}', noisy_space(tmp_path))
    search = promoting(job_file, tmp_path, *options)
    while plan := search.next():
        steps, decision = 0, Decision.CONTINUE
        while decision is Decision.CONTINUE:
            steps = plan.next_rung(steps)
            value = math.nan if plan.trial % 3 == 0 else quality(plan, steps)
            made = report(plan, steps, value)
            scores = {**made.scores, "ssim": 0.6 if plan.trial % 2 else 0.2}
            decision = search.report(replace(made, scores=scores), lambda: [b"png"])
    records, _ = load_records(tmp_path)
    assert len(records) == 18 and sum(r.state == "failed" for r in records) == 6


def test_a_finished_run_can_be_extended(job_file: Path, tmp_path: Path) -> None:
    """With more trials a finished search continues and runs no trial again."""
    play(promoting(job_file, tmp_path), quality)
    longer = make_search(job_file, tmp_path, "search.trials=21", presets=0)
    play(longer, quality)
    records, _ = load_records(tmp_path)
    assert len(records) == 21
    assert longer.over


def test_images_of_a_trade_off(job_file: Path, tmp_path: Path) -> None:
    """With several objectives the images of every report are kept, as each may be on the front."""
    search = promoting(job_file, tmp_path, "objective=[lpips, seconds_per_image]")
    plan = search.next()
    search.report(report(plan, 2, 0.5), lambda: [b"png"])
    folder = tmp_path / "trials" / f"{plan.trial:04d}"
    assert {path.name for path in folder.iterdir()} == {"pair0.png", "steps-00002-pair0.png"}


def test_several_objectives(job_file: Path, tmp_path: Path) -> None:
    """The best trial of each objective stays in the search, and a finished search stays over."""
    both = "objective=[lpips, rmse]"
    search = promoting(job_file, tmp_path, both)
    active = {plan.trial: plan for _ in range(18) if (plan := search.next())}
    for number, plan in active.items():
        scores = {"lpips": float(number), "rmse": float(17 - number)}
        if number == 9:
            scores = {"lpips": 20.0, "rmse": 20.0}  # the worst in both
        made = replace(report(plan, 2, 0.0), scores=scores, pair_scores=[scores])
        search.report(made, lambda: [b"png"])
    unfinished = set(search.unfinished)
    assert {0, 17} <= unfinished
    assert 9 not in unfinished
    play(promoting(job_file, tmp_path, both), quality)
    assert promoting(job_file, tmp_path, both).next() is None
    assert {r.state for r in load_records(tmp_path)[0]} == {"complete", "pruned"}
