"""Errors in an engine: an error of one trial ends that trial, and no other."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch

import nst_core.lanes.batch
from nst_core.config import StyleConfig
from nst_core.images.tensors import to_uint8
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.checkpoints import dump_lanes, load_lanes
from nst_core.lanes.lane_state import LaneState
from nst_core.losses.batch_loss import Losses
from nst_core.losses.inputs import LossInputs
from nst_core.networks.weights import Weights
from tuner.cluster.engine_actor import EngineActor
from tuner.engine.engine import Engine
from tuner.engine.pairs import Pair
from tuner.engine.workload import Workload
from tuner.study.records import Report

SHALLOW = StyleConfig(
    style_layers={"relu1_1": 1.0}, content_layers={"relu1_1": 1.0}, size_px=64, steps=6
)
#: Settings whose lanes fail in these tests; their learning rate marks them.
POISON = SHALLOW.replace(lr=0.0123)


@pytest.fixture
def engine(random_weights: Callable[[str], Weights]) -> Engine:
    """Engine with two small pairs, whose styles are white."""
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for height in (64, 48):
        content = torch.rand(3, height, 64, generator=generator)
        inputs = LossInputs.at_size(content, [(torch.ones(3, 64, 64), 1.0)], 64)
        pairs.append(Pair(inputs=inputs, reference_HW3=to_uint8(content)))
    return Engine(pairs, {"vgg16": random_weights("vgg16")}, metrics=("rmse",))


def run(engine: Engine) -> dict[int, Report]:
    """Run the engine to the end and return the reports by trial."""
    reports = []
    while engine.busy:
        reports += engine.advance()
    return {report.trial: report for report in reports}


def poisoned_step(monkeypatch: pytest.MonkeyPatch, error: Exception, times: int = 10**9) -> None:
    """Make every step of a batch with a poisoned lane raise an error, this many times."""
    original, times_left = LaneBatch.advance, [times]

    def advance(batch: LaneBatch, steps: int) -> Losses:
        if times_left[0] and any(lane.config.lr == POISON.lr for lane in batch.lanes):
            times_left[0] -= 1
            raise error
        return original(batch, steps)

    monkeypatch.setattr(LaneBatch, "advance", advance)


@pytest.mark.parametrize("poisoned", [{1}, {0, 3}, {0, 1, 2, 3}])
def test_error_ends_only_the_trials_that_cause_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, poisoned: set[int]
) -> None:
    """Of trials in one batch, those that also fail alone end; the others continue."""
    poisoned_step(monkeypatch, ValueError("no such thing"))
    for number in range(4):
        engine.submit(number, POISON if number in poisoned else SHALLOW, 6)
    reports = run(engine)
    assert {number for number, report in reports.items() if report.failure} == poisoned
    for number, report in reports.items():
        if number in poisoned:
            assert "step 0: ValueError: no such thing (test_engine_faults.py:" in report.failure
        else:
            assert report.steps == 6
    assert engine.trials == 4 - len(poisoned)


def test_error_that_does_not_repeat_ends_no_trial(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a batch fails and all its trials succeed alone, no trial ends and no step is lost."""
    poisoned_step(monkeypatch, ValueError("now and then"), times=1)
    for number in range(3):
        engine.submit(number, POISON if number == 1 else SHALLOW, 6)
    reports = run(engine)
    assert {number: report.steps for number, report in reports.items()} == {0: 6, 1: 6, 2: 6}
    assert not any(report.failure for report in reports.values())
    assert engine.stats.lane_steps == 3 * 2 * 6


def test_lane_that_cannot_start_ends_only_its_trial(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an initial image cannot be made, or does not fit into memory, only its trial fails."""
    original = nst_core.lanes.batch.initial_image

    def initial_image(config: StyleConfig, inputs: LossInputs) -> torch.Tensor:
        if config.lr == POISON.lr:
            raise torch.OutOfMemoryError("injected")
        return original(config, inputs)

    monkeypatch.setattr(nst_core.lanes.batch, "initial_image", initial_image)
    engine.submit(0, SHALLOW, 6)
    engine.submit(1, POISON, 6)
    engine.submit(2, SHALLOW.replace(init="image"), 6)  # there is no such image
    reports = run(engine)
    assert reports[0].failure is None and reports[0].steps == 6
    assert "out of memory" in str(reports[1].failure)
    assert "`init: image` needs an image" in str(reports[2].failure)


class _FailingSuite:
    """Metric suite that fails for images that are too bright."""

    def score_all(
        self, images: Sequence[torch.Tensor], *_: Sequence[np.ndarray]
    ) -> list[dict[str, float]]:
        if any(image.float().mean() > 200 for image in images):
            raise ValueError("too bright")
        return [{"rmse": float(image.float().mean())} for image in images]


def test_images_that_cannot_be_scored_end_only_their_trial(engine: Engine) -> None:
    """If one trial's images cannot be scored, trials that were scored with it continue."""
    engine._scorer._suite = _FailingSuite()  # type: ignore[assignment]
    white = SHALLOW.replace(init="style", lr=1e-6)
    for number in range(3):
        engine.submit(number, white if number == 1 else SHALLOW, 6)
    reports = run(engine)
    assert {number for number, report in reports.items() if report.failure} == {1}
    assert str(reports[1].failure).startswith("step 6: ValueError: too bright")


def changed(lanes: list[LaneState], facts: Mapping[str, object], **changes: object) -> bytes:
    """Return saved lanes with changed facts."""
    return dump_lanes(lanes, {**facts, **changes})


def small(lane: LaneState) -> LaneState:
    """Return a lane whose image is 20 pixels high."""
    return LaneState(step=lane.step, image_3HW=lane.image_3HW[:, :20], state=lane.state)


DAMAGES: Mapping[str, Callable[[bytes, list[LaneState], Mapping[str, object]], bytes]] = {
    "nothing": lambda whole, lanes, facts: b"",
    "half": lambda whole, lanes, facts: whole[: len(whole) // 2],
    "no facts": lambda whole, lanes, facts: dump_lanes(lanes, {}),
    "strange facts": lambda whole, lanes, facts: changed(lanes, facts, losses=[1]),
    "a lane less": lambda whole, lanes, facts: dump_lanes(lanes[:1], facts),
    "a lane more": lambda whole, lanes, facts: dump_lanes([*lanes, lanes[0]], facts),
    "other pairs": lambda whole, lanes, facts: dump_lanes(lanes[::-1], facts),
    "another size": lambda whole, lanes, facts: dump_lanes([small(lane) for lane in lanes], facts),
    "beyond the rung": lambda whole, lanes, facts: dump_lanes(
        [LaneState(step=5, image_3HW=lane.image_3HW, state=lane.state) for lane in lanes], facts
    ),
    "another optimizer": lambda whole, lanes, facts: dump_lanes(
        [LaneState(step=lane.step, image_3HW=lane.image_3HW, state={}) for lane in lanes], facts
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_trial_with_unusable_lanes_begins_again(engine: Engine, damage: str) -> None:
    """If saved lanes are damaged or of another trial, the trial begins again and reports that."""
    engine.submit(1, SHALLOW, 2)
    run(engine)
    whole = engine.pause(1)
    steps = engine.stats.lane_steps
    engine.submit(1, SHALLOW, 4, paused=DAMAGES[damage](whole, *load_lanes(whole)))
    report = run(engine)[1]
    assert (report.steps, report.failure, report.resumed_at) == (4, None, None)
    assert str(report.remark).startswith(
        "its saved lanes could not be used, so the trial began again: "
    )
    assert engine.stats.lane_steps == steps + 2 * 4
    engine.submit(1, SHALLOW, 6)
    assert run(engine)[1].remark is None


@pytest.mark.parametrize("scales", [1, 2])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "lamb", "lbfgs"])
def test_trial_continues_from_its_saved_lanes(engine: Engine, optimizer: str, scales: int) -> None:
    """With every optimizer and at every size, a trial continues from its own saved lanes."""
    config = SHALLOW.replace(optimizer=optimizer, scales=scales, keep="ema")
    for until in (1, 3, 5):
        paused = engine.pause(1) if engine.holds(1) else None
        engine.submit(1, config, until, paused=paused)
        report = run(engine)[1]
        assert (report.failure, report.remark) == (None, None)
        assert report.resumed_at == (None if until == 1 else until - 2)
    assert engine.stats.lane_steps == 2 * 5


def test_broken_device_ends_the_engine_and_no_trial(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the device leaves the engine, which must be restarted, and fails no trial."""
    poisoned_step(monkeypatch, RuntimeError("CUDA error: an illegal memory access"))
    engine.submit(1, POISON, 6)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run(engine)


def test_failing_call_does_not_break_the_engine() -> None:
    """A call for an unknown trial raises an error for its caller only; the engine continues."""

    async def call_and_check() -> None:
        workload = Workload(pairs=(), weights={}, metrics=())
        engine = EngineActor(workload, device="cpu", threads=None)
        with pytest.raises(KeyError):
            await engine.pause(7)
        assert (await engine.stats()).chunks == 0
        while (await engine.pulse()).busy_s:  # the engine's thread may not have become idle yet
            await asyncio.sleep(0.01)

    asyncio.run(call_and_check())
