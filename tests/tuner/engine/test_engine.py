"""Engine: batching of trials, running ahead, failures, pausing and resuming."""

import io
import threading
from collections.abc import Callable, Mapping, Sequence
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
from tuner.job.objective import COST, COSTS
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


def test_different_trials_share_the_engine(engine: Engine) -> None:
    """Trials with different settings advance together, and each reports at its requested step."""
    engine.submit(1, config(), 4)
    engine.submit(2, config(lr=0.1, init="noise"), 13)
    engine.submit(3, config(style_layers={"relu3_1": 1.0}), 7)
    reports = {report.trial: report for report in run(engine)}
    assert {number: report.steps for number, report in reports.items()} == {1: 4, 2: 13, 3: 7}
    for report in reports.values():
        assert set(report.scores) == {*DEFAULT_METRICS, *COSTS} - {COST}
        assert len(report.pair_scores) == 2
        assert report.scores["lpips"] == pytest.approx(
            sum(scores["lpips"] for scores in report.pair_scores) / 2
        )
        assert report.seconds > 0
    assert [image[:4] for image in engine.images(1)] == [b"\x89PNG"] * 2


def test_a_report_on_the_way_does_not_change_the_result(engine: Engine) -> None:
    """Scores at step 9 agree within float32 drift (2 %) with and without a report at step 4."""
    engine.submit(1, config(), 4)
    run(engine)
    engine.submit(1, config(), 9)
    engine.submit(2, config(), 9)
    by_rungs, at_once = sorted(run(engine), key=lambda report: report.trial)
    assert by_rungs.steps == at_once.steps == 9
    assert by_rungs.scores["lpips"] == pytest.approx(at_once.scores["lpips"], rel=2e-2)


def test_multi_scale_trials_report_at_rungs(engine: Engine) -> None:
    """A multi-scale trial changes its size within and between rungs, beside a single-scale one."""
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
    """A dropped trial no longer reports, and dropping an unknown trial does nothing."""
    engine.submit(1, config(), 40)
    engine.submit(2, config(), 3)
    engine.advance()
    engine.drop(1)
    engine.drop(99)
    reports = run(engine)
    assert {report.trial for report in reports} <= {2}
    assert not engine.busy


def test_divergence_fails_one_trial(engine: Engine) -> None:
    """A diverged trial reports a failure with step and reason; other trials continue."""
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
    """If four lanes do not fit into memory, two advance at a time and every trial reports."""
    limit_lanes(monkeypatch, 2)
    for number in range(2):
        engine.submit(number, config(), 6)
    reports = run(engine)
    assert {report.trial: report.steps for report in reports} == {0: 6, 1: 6}
    assert not any(report.failure for report in reports)


def test_out_of_memory_even_alone_is_a_failure(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that does not fit alone fails with advice, and the engine stays usable."""
    limit_lanes(monkeypatch, 0)
    engine.submit(1, config(), 6)
    (report,) = run(engine)
    assert "out of memory" in str(report.failure)
    assert "size_px" in str(report.failure)
    assert not engine.busy


def limit_lanes(monkeypatch: pytest.MonkeyPatch, max_lanes: int) -> None:
    import nst_core.losses.batch_loss

    forward: Callable[..., object] = nst_core.losses.batch_loss.BatchLoss.__call__

    def limited(self: object, images: torch.Tensor) -> object:
        if len(images) > max_lanes:
            raise torch.OutOfMemoryError("injected")
        return forward(self, images)

    monkeypatch.setattr(nst_core.losses.batch_loss.BatchLoss, "__call__", limited)


def test_a_trial_that_runs_ahead_reports_on_request(engine: Engine) -> None:
    """A trial advances beyond its requested step, but reports that step only on request."""
    engine.submit(1, config(), 2, beyond=6)
    (first,) = run(engine)
    assert first.steps == 2
    assert not engine.busy or engine.advance() == []
    while engine._scheduler:
        assert engine.advance() == []
    assert not engine.busy
    engine.submit(1, config(), 6, beyond=8)
    (second,) = run(engine)
    assert second.steps == 6
    other = Engine(engine._pairs, engine._scheduler._store._weights.__self__)  # type: ignore[attr-defined]
    other.submit(1, config(), 6)
    (alone,) = run(other)
    assert second.scores["lpips"] == pytest.approx(alone.scores["lpips"], rel=2e-2)


def test_lost_steps_are_counted(engine: Engine) -> None:
    """Steps beyond the requested one are counted as lost when the trial is dropped."""
    engine.submit(1, config(), 2, beyond=6)
    run(engine)
    while engine._scheduler:
        engine.advance()
    assert engine.stats.lane_steps_lost == 0
    engine.drop(1)
    assert engine.stats.lane_steps_lost == 2 * 4  # two pairs
    assert engine.stats.lane_steps == 2 * 6
    assert 0 < engine.stats.busy <= 1


class SlowSuite:
    """Metric suite that scores only after it is allowed to."""

    def __init__(self) -> None:
        self.allowed = threading.Event()

    def score_all(self, images: Sequence[torch.Tensor], *_: object) -> list[dict[str, float]]:
        assert self.allowed.wait(60)
        return [{"lpips": 0.5} for _ in images]


def test_an_engine_does_not_wait_for_scores(engine: Engine) -> None:
    """While scores are computed, other trials advance and can be submitted."""
    engine._scorer._suite = suite = SlowSuite()  # type: ignore[attr-defined]
    engine.submit(1, config(), 2)
    while engine.lanes:
        assert engine.advance() == []
    engine.submit(2, config(), 4)
    while engine.lanes:
        assert engine.advance() == []
    assert engine.busy and engine.advance() == []
    suite.allowed.set()
    assert {report.trial: report.steps for report in run(engine)} == {1: 2, 2: 4}


def test_images_are_those_of_the_last_report(engine: Engine) -> None:
    """Running ahead does not change the images of the last report."""
    engine.submit(1, config(lr=0.1), 2, beyond=20)
    run(engine)
    reported = engine.images(1)
    while engine._scheduler:
        engine.advance()
    assert engine.images(1) == reported
    engine.submit(1, config(lr=0.1), 20)
    run(engine)
    assert engine.images(1) != reported


def test_a_failure_while_running_ahead_is_reported_on_request(engine: Engine) -> None:
    """A trial that diverges while it runs ahead still reports its requested step first."""
    engine.submit(1, config(lr=100.0, clamp="save", steps=30), 1, beyond=30)
    (first,) = run(engine)
    assert (first.steps, first.failure) == (1, None)
    while engine._scheduler:
        assert engine.advance() == []
    engine.submit(1, config(lr=100.0, clamp="save", steps=30), 30)
    (second,) = run(engine)
    assert "smaller learning rate" in str(second.failure)
    assert not engine.busy


def test_a_paused_trial_continues_on_another_engine(
    pairs: list[Pair], weights: Mapping[str, Weights], engine: Engine
) -> None:
    """A trial that pauses at a rung and resumes on another engine scores like one that did not."""
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


def test_a_paused_trial_may_be_at_its_next_rung_already(
    pairs: list[Pair], weights: Mapping[str, Weights], engine: Engine
) -> None:
    """Lanes that ran ahead to the next rung before a pause need no further step to report it."""
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


def test_held_out_pairs_do_not_count_in_the_score(
    pairs: list[Pair], weights: Mapping[str, Weights]
) -> None:
    """A trial runs on held-out pairs only on request, and its score does not include them."""
    engine = Engine(pairs[:1], weights, holdout=pairs[1:])
    engine.submit(1, config(), 3)
    engine.submit(2, config(), 3, holdout=True)
    reports = {report.trial: report for report in run(engine)}
    assert len(reports[1].pair_scores) == 1
    assert len(reports[2].pair_scores) == 2
    for report in reports.values():
        assert report.scores["lpips"] == report.pair_scores[0]["lpips"]
