"""LaneBatch: independence of lanes, joining, leaving, divergence and errors."""

from collections.abc import Callable, Iterator

import pytest
import torch

from nst_core.lanes.batch import LaneBatch, Outcome
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.losses.terms import depth_of
from nst_core.networks.weights import Weights
from tests.nst_core.lanes.unlike_lanes import CONFIGS, run_alone, unlike_inputs


@pytest.fixture(scope="module")
def inputs() -> list[LossInputs]:
    return unlike_inputs()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: several threads split a batch and an image differently, and round so."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(random_weights: Callable[[str], Weights]) -> FeatureStore:
    return FeatureStore(random_weights, dtype=torch.float64)


def test_batched_lanes_equal_separate_runs(store: FeatureStore, inputs: list[LossInputs]) -> None:
    """In float64 on one thread, lanes of a batch equal separate runs bit for bit."""
    batch = LaneBatch(store)
    for index, config in enumerate(CONFIGS):
        batch.add(index, config, inputs[index])
    losses = batch.advance(6)
    depths = [depth_of(lane.config) for lane in batch.lanes]
    assert depths == sorted(depths, reverse=True) and len(set(depths)) > 2
    for lane, batched in zip(batch.lanes, losses.total, strict=True):
        image, total = run_alone(store, lane.config, inputs[lane.key], 6)
        assert torch.equal(batch.image(lane.key), image)
        torch.testing.assert_close(batched, total, rtol=1e-12, atol=0)


def test_several_threads_differ_by_rounding_only(
    store: FeatureStore, inputs: list[LossInputs]
) -> None:
    """On several threads, lanes of a batch equal separate runs within rounding errors."""
    torch.set_num_threads(2)
    batch = LaneBatch(store)
    for index, config in enumerate(CONFIGS):
        batch.add(index, config, inputs[index])
    batch.advance(6)
    for index, config in enumerate(CONFIGS):
        image, _ = run_alone(store, config, inputs[index], 6)
        torch.testing.assert_close(batch.image(index), image, rtol=0, atol=1e-10)


def test_lanes_join_and_leave_at_any_step(store: FeatureStore, inputs: list[LossInputs]) -> None:
    """Adding, removing, saving and loading lanes does not change any trajectory."""
    batch = LaneBatch(store)
    batch.add(0, CONFIGS[0], inputs[0])
    batch.advance(2)
    batch.add(1, CONFIGS[1], inputs[1])
    batch.advance(3)
    saved = batch.save(0)
    batch.take(0)
    batch.advance(1)
    batch.add(2, CONFIGS[2], inputs[2])
    batch.add(0, CONFIGS[0], inputs[0], saved)
    batch.advance(3)
    steps = {lane.key: lane.step for lane in batch.lanes}
    assert steps == {0: 8, 1: 7, 2: 3}
    for key, count in steps.items():
        assert torch.equal(batch.image(key), run_alone(store, CONFIGS[key], inputs[key], count)[0])


def test_a_diverged_lane_does_not_affect_other_lanes(
    store: FeatureStore, inputs: list[LossInputs]
) -> None:
    """A lane that is not finite gets its own outcome, and other lanes do not change."""
    wild = CONFIGS[0].replace(lr=1e4, style_weight=1e12, clamp="save")
    batch = LaneBatch(store)
    batch.add("wild", wild, inputs[0])
    batch.add("calm", CONFIGS[0], inputs[0])
    for _ in range(3):
        saved = batch.save("wild")
        saved.image_3HW[:] = float("nan")
        batch.take("wild")
        batch.add("wild", wild, inputs[0], saved)
        losses = batch.advance(2)
    by_key = dict(zip([lane.key for lane in batch.lanes], batch.outcomes(losses), strict=True))
    assert by_key == {"calm": Outcome.RUNNING, "wild": Outcome.NOT_FINITE}
    assert torch.equal(batch.image("calm"), run_alone(store, CONFIGS[0], inputs[0], 6)[0])


def test_readings_are_the_losses_and_outcomes(
    store: FeatureStore, inputs: list[LossInputs]
) -> None:
    """A reading has every loss term of its lane as a plain number, and the lane's outcome."""
    batch = LaneBatch(store)
    batch.add("wild", CONFIGS[0].replace(lr=1e4, clamp="save"), inputs[0])
    batch.add("calm", CONFIGS[0], inputs[0])
    losses = batch.advance(1)
    readings = batch.readings(losses)
    for index, reading in enumerate(readings):
        terms = {name: float(value[index]) for name, value in vars(losses).items()}
        assert reading.losses == terms and set(terms) >= {"total", "content", "style"}
    outcomes = {lane.key: r.outcome for lane, r in zip(batch.lanes, readings, strict=True)}
    assert outcomes == {"wild": Outcome.EXPLODED_IMAGE, "calm": Outcome.RUNNING}


def test_a_batch_takes_only_its_group(store: FeatureStore, inputs: list[LossInputs]) -> None:
    """A lane of another network or precision, and a duplicate key, raise ValueError."""
    batch = LaneBatch(store)
    batch.add("x", CONFIGS[0], inputs[0])
    with pytest.raises(ValueError, match="already"):
        batch.add("x", CONFIGS[0], inputs[0])
    for change in ({"extractor": "vgg19"}, {"pooling": "average"}, {"precision": "bfloat16"}):
        with pytest.raises(ValueError, match="cannot add a lane"):
            batch.add("y", CONFIGS[0].replace(**change), inputs[0])


def test_an_exception_keeps_complete_steps(
    store: FeatureStore, inputs: list[LossInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a step runs out of memory, lanes keep the steps that were complete before it."""
    batch = LaneBatch(store)
    batch.add(0, CONFIGS[0], inputs[0])
    batch.advance(1)
    step = batch._ready()._step
    loss = step._loss
    calls = 0

    def failing(pixels: torch.Tensor):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == 3:
            raise torch.OutOfMemoryError("injected")
        return loss(pixels)

    monkeypatch.setattr(step, "_loss", failing)
    with pytest.raises(torch.OutOfMemoryError):
        batch.advance(5)
    assert batch.lanes[0].step == 3
    monkeypatch.undo()
    batch.advance(2)
    assert torch.equal(batch.image(0), run_alone(store, CONFIGS[0], inputs[0], 5)[0])


def test_loss_gradient_matches_finite_differences(
    store: FeatureStore, inputs: list[LossInputs]
) -> None:
    """The gradient of a batch's loss agrees with finite differences in float64."""
    batch = LaneBatch(store)
    config = CONFIGS[1].replace(style_weight=1.0)
    batch.add(0, config, inputs[0])
    loss = batch._ready()._step._loss
    pixels = batch.image(0)[None].clone().requires_grad_()
    (grad,) = torch.autograd.grad(sum(loss(pixels)).sum(), pixels)
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        direction = torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            above = sum(loss(pixels + 1e-6 * direction))
            below = sum(loss(pixels - 1e-6 * direction))
        torch.testing.assert_close(
            (above - below)[0] / 2e-6, (grad * direction).sum(), rtol=1e-5, atol=1e-9
        )
