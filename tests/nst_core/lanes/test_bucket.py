"""Buckets: rows equal separate runs, and lanes join and leave without touching other rows."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nst_core.lanes.batch import LaneBatch, Outcome
from nst_core.lanes.bucket import Bucket, Buckets, capacity_for
from nst_core.lanes.step import StepKinds
from nst_core.lanes.step_graph import Replay, StepGraphs
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.networks.rowwise import tensors_of
from nst_core.networks.weights import Weights
from tests.nst_core.lanes.unlike_lanes import CONFIGS, run_alone, unlike_inputs


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: several threads split a batch and an image differently, and round so."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def inputs() -> list[LossInputs]:
    return unlike_inputs()


@pytest.fixture
def store(random_weights: Callable[[str], Weights]) -> FeatureStore:
    return FeatureStore(random_weights, dtype=torch.float64)


def bucket_of(batch: LaneBatch) -> Bucket:
    bucket = batch._ready()
    assert isinstance(bucket, Bucket)
    return bucket


def assert_equals_a_run_alone(
    store: FeatureStore, batch: LaneBatch, index: int, inputs: LossInputs, steps: int
) -> None:
    image, _ = run_alone(store, CONFIGS[index], inputs, steps)
    torch.testing.assert_close(batch.image(index), image, rtol=0, atol=1e-9)


def test_rows_equal_separate_runs(store: FeatureStore, inputs: list[LossInputs]) -> None:
    """In float64, lanes whose settings have nothing in common equal separate runs within 1e-9."""
    batch = LaneBatch(store, Buckets(store))
    for index, config in enumerate(CONFIGS):
        batch.add(index, config, inputs[index])
    losses = batch.advance(6)
    assert bucket_of(batch).key.capacity == 6
    for lane, total in zip(batch.lanes, losses.total, strict=True):
        assert_equals_a_run_alone(store, batch, lane.key, inputs[lane.key], 6)
        alone = run_alone(store, lane.config, inputs[lane.key], 6)[1]
        torch.testing.assert_close(total, alone, rtol=1e-9, atol=0)
    assert batch.outcomes(losses) == [Outcome.RUNNING] * len(CONFIGS)


def test_lanes_join_and_leave_rows_at_any_step(
    store: FeatureStore, inputs: list[LossInputs]
) -> None:
    """Joining, leaving, saving and loading lanes does not change any trajectory in a bucket."""
    batch = LaneBatch(store, Buckets(store))
    batch.add(0, CONFIGS[0], inputs[0])
    batch.advance(2)
    batch.add(1, CONFIGS[1], inputs[1])
    batch.advance(3)
    saved = batch.save(0)
    batch.take(0)
    batch.advance(1)
    batch.add(3, CONFIGS[3], inputs[3])
    batch.add(0, CONFIGS[0], inputs[0], saved)
    batch.advance(3)
    steps = {lane.key: lane.step for lane in batch.lanes}
    assert steps == {0: 8, 1: 7, 3: 3}
    for index, count in steps.items():
        assert_equals_a_run_alone(store, batch, index, inputs[index], count)


def test_a_joining_lane_touches_no_other_row(store: FeatureStore, inputs: list[LossInputs]) -> None:
    """A lane that takes the place of one that left is copied into its row; no tensor moves."""
    batch = LaneBatch(store, Buckets(store))
    for key in range(4):
        batch.add(key, CONFIGS[0].replace(seed=key, init="noise"), inputs[0])
    batch.advance(1)
    bucket = bucket_of(batch)
    places = [tensor.data_ptr() for tensor in tensors_of((bucket._step, bucket._state))]
    kept = batch.image(2).clone()
    batch.take(1)
    batch.add("new", CONFIGS[0].replace(lr=0.5), inputs[0])
    assert bucket_of(batch) is bucket
    after = [tensor.data_ptr() for tensor in tensors_of((bucket._step, bucket._state))]
    assert after == places
    assert torch.equal(batch.image(2), kept)
    assert [lane.key for lane in batch.lanes] == [0, "new", 2, 3]


def test_a_taken_lane_keeps_no_other_lane_alive(
    store: FeatureStore, inputs: list[LossInputs]
) -> None:
    """The state of a lane that left is a copy, so that it does not hold the rows of others."""
    for buckets in (None, Buckets(store)):
        batch = LaneBatch(store, buckets)
        for key in range(3):
            batch.add(key, CONFIGS[0], inputs[0])
        batch.advance(1)
        state = batch.take(1)
        for tensor in (state.image_3HW, *state.state.values()):
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_a_row_that_is_not_finite_affects_no_other(
    store: FeatureStore, inputs: list[LossInputs]
) -> None:
    """A lane that is not finite gets its own outcome, and the next lane in its row starts clean."""
    wild = CONFIGS[0].replace(lr=1e4, style_weight=1e12, clamp="save")
    batch = LaneBatch(store, Buckets(store))
    batch.add("wild", wild, inputs[0])
    batch.add(0, CONFIGS[0], inputs[0])
    saved = batch.save("wild")
    saved.image_3HW[:] = float("nan")
    batch.take("wild")
    batch.add("wild", wild, inputs[0], saved)
    losses = batch.advance(2)
    outcomes = dict(zip([lane.key for lane in batch.lanes], batch.outcomes(losses), strict=True))
    assert outcomes == {0: Outcome.RUNNING, "wild": Outcome.NOT_FINITE}
    batch.take("wild")
    batch.add(1, CONFIGS[1], inputs[1])
    batch.advance(4)
    assert_equals_a_run_alone(store, batch, 0, inputs[0], 6)
    assert_equals_a_run_alone(store, batch, 1, inputs[1], 4)


def test_a_growing_bucket_computes_no_target_again(
    store: FeatureStore, inputs: list[LossInputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a bucket grows or shrinks, rows are copied; only the new lane asks for targets."""
    batch = LaneBatch(store, Buckets(store))
    batch.add(0, CONFIGS[0], inputs[0])
    batch.advance(1)
    asked = []
    original = FeatureStore.content
    monkeypatch.setattr(FeatureStore, "content", lambda *a: asked.append(a[1].seed) or original(*a))
    batch.add(1, CONFIGS[0].replace(seed=5), inputs[0])
    batch.advance(1)
    assert set(asked) == {5} and bucket_of(batch).key.capacity == 2
    asked.clear()
    batch.take(1)
    batch.advance(1)
    assert not asked and bucket_of(batch).key.capacity == 1
    assert_equals_a_run_alone(store, batch, 0, inputs[0], 3)


def test_a_bucket_does_not_keep_kinds_that_nobody_needs(
    store: FeatureStore, inputs: list[LossInputs]
) -> None:
    """After a lane with eigenvalues has left, steps of the others are recordable again."""
    batch = LaneBatch(store, Buckets(store))
    batch.add(0, CONFIGS[0], inputs[0])
    batch.add(3, CONFIGS[3], inputs[3])
    batch.advance(1)
    assert not bucket_of(batch).key.kinds.recordable
    batch.take(3)
    batch.advance(1)
    assert bucket_of(batch).key.kinds.recordable
    assert_equals_a_run_alone(store, batch, 0, inputs[0], 2)


def test_a_recording_outlives_its_lanes(store: FeatureStore, inputs: list[LossInputs]) -> None:
    """Lanes that join a recorded bucket, or come after it was empty, need no new recording."""
    recordings = []

    def replaying(
        function: Callable[[Sequence[Tensor]], list[Tensor]], fixed: Sequence[Tensor]
    ) -> Replay:
        recordings.append(1)
        return lambda: function(fixed)

    buckets = Buckets(store, StepGraphs(replaying, eager_steps=1))
    batch = LaneBatch(store, buckets)
    for key in (0, "left"):
        batch.add(key, CONFIGS[0], inputs[0])
    batch.advance(3)
    recorded = len(recordings)
    batch.take("left")
    batch.add("joined", CONFIGS[0].replace(lr=0.3), inputs[0])
    batch.advance(3)
    assert_equals_a_run_alone(store, batch, 0, inputs[0], 6)
    for key in (0, "joined"):
        batch.take(key)
    other = LaneBatch(store, buckets)
    for key in (0, "second"):
        other.add(key, CONFIGS[0], inputs[0])
    other.advance(4)
    assert bucket_of(other).is_recorded and len(recordings) == recorded > 0
    assert_equals_a_run_alone(store, other, 0, inputs[0], 4)


@given(st.integers(1, 5000))
def test_few_capacities_hold_any_number_of_lanes(lanes: int) -> None:
    """Capacities are powers of two and one and a half times these; a third is idle at most."""
    capacity = capacity_for(lanes)
    assert lanes <= capacity <= 1.5 * lanes
    while capacity > 3:
        assert capacity % 2 == 0
        capacity //= 2


def test_kinds_cover_what_they_are_made_of(inputs: list[LossInputs]) -> None:
    """Kinds of several lanes cover the kinds of each, and those of one lane not those of all."""
    pairs = list(zip(CONFIGS, inputs, strict=True))
    everything = StepKinds.of(pairs)
    for pair in pairs:
        assert everything.covers(StepKinds.of([pair]))
        assert not StepKinds.of([pair]).covers(everything)
