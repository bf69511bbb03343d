import io
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image

from nst_core.config import StyleConfig
from nst_core.metrics.registry import DEFAULT_METRICS
from nst_core.networks.weights import Weights
from tests.tuner.helpers import job_of
from tuner.engine.engine import Engine
from tuner.engine.pairs import Pair, load_pair
from tuner.job.objective import COSTS
from tuner.study.records import Report

SHALLOW = {"style_layers": {"relu2_1": 1.0}, "content_layers": {"relu1_2": 1.0}, "size_px": 64}


@pytest.fixture
def pairs(job_file: Path) -> list[Pair]:
    spec = job_of(job_file).pairs[0]
    upright = spec.model_copy(update={"content": spec.style[0].image})
    return [load_pair(spec, 64), load_pair(upright, 64)]


@pytest.fixture
def engine(weights: Mapping[str, Weights], pairs: list[Pair]) -> Engine:
    return Engine(pairs, weights)


def config(**changes: object) -> StyleConfig:
    return StyleConfig.from_dict({**SHALLOW, **changes})


def run(engine: Engine) -> list[Report]:
    reports = []
    while engine.busy:
        reports += engine.advance()
    return reports


def test_trials_of_different_lengths_and_kinds_together(engine: Engine) -> None:
    """Trials of unlike settings advance together, and each reports where it was asked to be."""
    engine.submit(1, config(), 4)
    engine.submit(2, config(lr=0.1, init="noise"), 13)
    engine.submit(3, config(style_layers={"relu3_1": 1.0}), 7)
    reports = {report.trial: report for report in run(engine)}
    assert {number: report.steps for number, report in reports.items()} == {1: 4, 2: 13, 3: 7}
    for report in reports.values():
        assert set(report.scores) == {*DEFAULT_METRICS, *COSTS}
        assert len(report.pair_scores) == 2
        assert report.scores["lpips"] == pytest.approx(
            sum(scores["lpips"] for scores in report.pair_scores) / 2
        )
        assert report.seconds > 0
    assert [image[:4] for image in engine.images(1)] == [b"\x89PNG"] * 2


def test_going_on_from_a_rung_changes_nothing(engine: Engine) -> None:
    """By way of step 4 or at once, step 9 scores alike (float32 rounding drifts; 2 %)."""
    engine.submit(1, config(), 4)
    run(engine)
    engine.submit(1, config(), 9)
    engine.submit(2, config(), 9)
    by_rungs, at_once = sorted(run(engine), key=lambda report: report.trial)
    assert by_rungs.steps == at_once.steps == 9
    assert by_rungs.scores["lpips"] == pytest.approx(at_once.scores["lpips"], rel=2e-2)


def test_coarse_to_fine_by_way_of_rungs(engine: Engine) -> None:
    """A trial of several sizes crosses them within and between rungs, beside one of one size."""
    scaled = {"scales": 2, "optimizer": "adamw", "keep": "ema"}
    engine.submit(1, config(**scaled, steps=9), 5)
    engine.submit(2, config(), 9)
    reports = run(engine)
    engine.submit(1, config(**scaled, steps=9), 9)
    reports += run(engine)
    assert [(report.trial, report.steps) for report in reports] == [(1, 5), (2, 9), (1, 9)]
    assert not any(report.failure for report in reports)
    with Image.open(io.BytesIO(engine.images(1)[0])) as image:
        assert image.size == (64, 43)


def test_a_dropped_trial_frees_its_place(engine: Engine) -> None:
    """A trial dropped on the way is forgotten, whatever it was doing."""
    engine.submit(1, config(), 40)
    engine.submit(2, config(), 3)
    engine.advance()
    engine.drop(1)
    engine.drop(99)
    reports = run(engine)
    assert {report.trial for report in reports} <= {2}
    assert not engine.busy


def test_divergence_fails_one_trial(engine: Engine) -> None:
    """A trial that explodes reports a failure with step and reason; the other goes on."""
    engine.submit(1, config(lr=1e4, clamp="save"), 30)
    engine.submit(2, config(), 30)
    reports = {report.trial: report for report in run(engine)}
    assert "smaller learning rate" in str(reports[1].failure)
    assert str(reports[1].failure).startswith("step ")
    assert reports[2].failure is None
    assert reports[2].steps == 30


def test_out_of_memory_shrinks_the_batch_and_loses_no_lane(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When four lanes do not fit, two at a time do, and every trial still reports."""
    limit_lanes(monkeypatch, 2)
    for number in range(2):
        engine.submit(number, config(), 6)
    reports = run(engine)
    assert {report.trial: report.steps for report in reports} == {0: 6, 1: 6}
    assert not any(report.failure for report in reports)


def test_out_of_memory_even_alone_is_a_failure(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that does not fit alone fails with what to do, and the engine goes on."""
    limit_lanes(monkeypatch, 0)
    engine.submit(1, config(), 6)
    (report,) = run(engine)
    assert "out of memory" in str(report.failure)
    assert "size_px" in str(report.failure)
    assert not engine.busy


def limit_lanes(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    import nst_core.losses.batch_loss

    forward: Callable[..., object] = nst_core.losses.batch_loss.BatchLoss.__call__

    def limited(self: object, images: torch.Tensor) -> object:
        if len(images) > most:
            raise torch.OutOfMemoryError("injected")
        return forward(self, images)

    monkeypatch.setattr(nst_core.losses.batch_loss.BatchLoss, "__call__", limited)


def test_a_lane_runs_ahead_and_waits_to_be_asked(engine: Engine) -> None:
    """Beyond the step it was asked for a trial goes on, but reports there only when asked."""
    engine.submit(1, config(), 2, beyond=6)
    (first,) = run(engine)
    assert first.steps == 2
    assert not engine.busy or engine.advance() == []
    while engine._batches:
        assert engine.advance() == []
    assert not engine.busy
    engine.submit(1, config(), 6, beyond=8)
    (second,) = run(engine)
    assert second.steps == 6
    straight = Engine(engine._pairs, engine._batches._store._weights.__self__)  # type: ignore[attr-defined]
    straight.submit(1, config(), 6)
    (alone,) = run(straight)
    assert second.scores["lpips"] == pytest.approx(alone.scores["lpips"], rel=2e-2)


def test_what_ran_ahead_in_vain_is_counted(engine: Engine) -> None:
    """Steps beyond what was asked for are lost when the trial is dropped, and are told."""
    engine.submit(1, config(), 2, beyond=6)
    run(engine)
    while engine._batches:
        engine.advance()
    assert engine.stats.lane_steps_lost == 0
    engine.drop(1)
    assert engine.stats.lane_steps_lost == 2 * 4  # two pairs
    assert engine.stats.lane_steps == 2 * 6
    assert 0 < engine.stats.busy <= 1


def test_images_are_those_of_the_last_report(engine: Engine) -> None:
    """Running ahead does not change the images of the rung that is being judged."""
    engine.submit(1, config(lr=0.1), 2, beyond=20)
    run(engine)
    reported = engine.images(1)
    while engine._batches:
        engine.advance()
    assert engine.images(1) == reported
    engine.submit(1, config(lr=0.1), 20)
    run(engine)
    assert engine.images(1) != reported


def test_a_failure_ahead_is_told_when_asked(engine: Engine) -> None:
    """A trial that explodes while it runs ahead has still reached what it was asked for."""
    engine.submit(1, config(lr=100.0, clamp="save", steps=30), 1, beyond=30)
    (first,) = run(engine)
    assert (first.steps, first.failure) == (1, None)
    while engine._batches:
        assert engine.advance() == []
    engine.submit(1, config(lr=100.0, clamp="save", steps=30), 30)
    (second,) = run(engine)
    assert "smaller learning rate" in str(second.failure)
    assert not engine.busy


def test_a_paused_trial_goes_on_where_it_was(
    pairs: list[Pair], weights: Mapping[str, Weights], engine: Engine
) -> None:
    """Paused at a rung and taken up by another engine, a trial scores as if it had never waited."""
    engine.submit(1, config(), 4, 9)
    engine.submit(2, config(), 4)
    reports = {report.trial: report for report in run(engine)}
    paused = engine.pause(1)
    engine.submit(2, config(), 9)
    (whole,) = run(engine)
    assert engine.trials == 1
    other = Engine(pairs, weights)
    other.submit(1, config(), 9, paused=paused)
    (report,) = run(other)
    assert report.steps == 9
    assert report.scores["lpips"] == pytest.approx(whole.scores["lpips"], rel=2e-2)
    assert report.seconds > reports[1].seconds
    assert other.stats.lane_steps <= 2 * 5


def test_a_trial_paused_when_it_is_there_already(
    pairs: list[Pair], weights: Mapping[str, Weights], engine: Engine
) -> None:
    """Lanes that ran ahead to the next rung before the pause need no further step to report it."""
    engine.submit(1, config(), 2, 3)
    engine.submit(2, config(), 40)
    while engine.busy:
        engine.advance()
    paused = engine.pause(1)
    other = Engine(pairs, weights)
    other.submit(1, config(), 3, paused=paused)
    (report,) = run(other)
    assert (report.steps, other.stats.lane_steps) == (3, 0)
    assert set(report.losses) >= {"content", "style", "total"}


def test_held_out_pairs_are_scored_apart(pairs: list[Pair], weights: Mapping[str, Weights]) -> None:
    """A trial runs on the held-out pairs only if asked to, and its score leaves them out."""
    engine = Engine(pairs[:1], weights, holdout=pairs[1:])
    engine.submit(1, config(), 3)
    engine.submit(2, config(), 3, holdout=True)
    reports = {report.trial: report for report in run(engine)}
    assert len(reports[1].pair_scores) == 1
    assert len(reports[2].pair_scores) == 2
    for report in reports.values():
        assert report.scores["lpips"] == report.pair_scores[0]["lpips"]
