"""Bucket: rows for the lanes of a batch, which lanes join and leave while the rows stay.

On a GPU, small steps wait for the host. An `Assembly` adds to that: whenever a lane joins or
leaves, it stacks all lanes anew. A bucket has more rows than lanes and computes every kind of term
for every row; what a lane does not use has the weight 0. So a lane joins by a copy of its settings,
targets and state into a row, other lanes are not touched, and one recording (`StepGraph`) serves
whoever is in the bucket.

The price is work on rows and terms that nobody uses, which is why CPUs do not use buckets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from nst_core.lanes.assembly import largest_pixel
from nst_core.lanes.lane_state import LaneState
from nst_core.lanes.schedules import balance_due
from nst_core.lanes.step import BatchState, LaneStep, StepKinds, SteppedLane
from nst_core.lanes.step_graph import StepGraph, StepGraphs
from nst_core.losses.batch_loss import Losses
from nst_core.losses.targets import MEMORY_FORMAT, FeatureStore
from nst_core.networks.precision import arithmetic
from nst_core.networks.rowwise import map_rows, tensors_of

T = TypeVar("T")

#: A bucket whose steps compute this many times as many terms as its lanes need is made anew.
MOST_UNUSED = 2

#: Number of recorded buckets without lanes that are kept for lanes of the same kind.
KEPT_FREE = 4


def capacity_for(lanes: int) -> int:
    """Return the number of rows for some lanes: the next of 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, ….

    At most a third of the rows is idle, and few sizes occur, so that recordings can be reused.
    """
    power: int = 2 ** (lanes - 1).bit_length()
    return power * 3 // 4 if power >= 4 and lanes <= power * 3 // 4 else power


@dataclass(frozen=True, kw_only=True)
class BucketKey:
    """Everything on which the recording of a bucket depends.

    Attributes:
        group: `GroupKey` of the lanes.
        kinds: what its steps compute.
        capacity: number of rows.
    """

    group: Hashable
    kinds: StepKinds
    capacity: int


class Bucket:
    """Rows for up to ``key.capacity`` lanes of one group; all rows are idle at first.

    Args:
        store: extractors and targets.
        key: size and kinds.
        step: a step of as many lanes as there are rows, with the kinds of the key.
        state: state of the rows.
        graphs: records steps as CUDA graphs; None: every step is eager.

    Attributes:
        keys: key of the lane in each row; None in rows that are idle.
    """

    def __init__(
        self,
        store: FeatureStore,
        key: BucketKey,
        step: LaneStep,
        state: BatchState,
        graphs: StepGraphs | None = None,
    ):
        self.key, self._store, self._graphs = key, store, graphs
        self._step, self._state = step, state
        self._graph: StepGraph | None = None
        self._eager_steps = 0
        self._index_M: Tensor | None = None
        self._lanes: list[SteppedLane | None] = [None] * key.capacity
        self._steps = [0] * key.capacity
        self.keys: list[Hashable | None] = [None] * key.capacity

    @classmethod
    def of(
        cls,
        store: FeatureStore,
        key: BucketKey,
        lanes: Mapping[Hashable, SteppedLane],
        graphs: StepGraphs | None,
    ) -> Bucket:
        """Return a bucket of some lanes; idle rows have the values of the first one."""
        stacked = list(lanes.values())
        made = LaneStep(store, stacked, key.kinds)
        idle = key.capacity - len(stacked)
        index = torch.tensor([*range(len(stacked)), *[0] * idle], device=store.device)
        step, state = _picked((made, made.state_of(stacked)), index, len(stacked))
        bucket = cls(store, key, step, state, graphs)
        bucket._occupy(range(len(stacked)), lanes)
        return bucket

    @property
    def rows(self) -> list[int]:
        """Rows that have a lane."""
        return [row for row, lane in enumerate(self._lanes) if lane is not None]

    @property
    def is_recorded(self) -> bool:
        """Whether its steps are replayed from a recording."""
        return self._graph is not None

    def join(self, lanes: Mapping[Hashable, SteppedLane]) -> None:
        """Copy lanes into idle rows; the kinds of the bucket must cover those of the lanes."""
        stacked = list(lanes.values())
        rows = [row for row, lane in enumerate(self._lanes) if lane is None][: len(stacked)]
        made = LaneStep(self._store, stacked, self.key.kinds)
        index = torch.tensor(rows, device=self._store.device)
        values = tensors_of((made, made.state_of(stacked)))
        for place, value in zip(self._tensors(), values, strict=True):
            by_lane = _by_lane(place, self.key.capacity)
            by_lane.index_copy_(0, index, _by_lane(value, len(stacked)))
        self._occupy(rows, lanes)

    def _occupy(self, rows: Sequence[int], lanes: Mapping[Hashable, SteppedLane]) -> None:
        for row, (key, lane) in zip(rows, lanes.items(), strict=True):
            self._lanes[row], self._steps[row], self.keys[row] = lane, lane.state.step, key
        self._index_M = None

    def _tensors(self) -> list[Tensor]:
        return tensors_of((self._step, self._state))

    def leave(self, key: Hashable) -> None:
        """Make the row of a lane idle."""
        row = self.keys.index(key)
        self._lanes[row], self._steps[row], self.keys[row] = None, 0, None
        self._index_M = None

    def moved_into(self, other: Bucket | None, capacity: int) -> Bucket:
        """Return a bucket of another size with the lanes of this one.

        Args:
            other: an empty bucket of this size and of the same kinds; None: make one.
            capacity: its number of rows.
        """
        rows = self.rows
        idle = capacity - len(rows)
        index = torch.tensor(rows + [rows[0]] * idle, device=self._store.device)
        step, state = _picked((self._step, self._state), index, self.key.capacity)
        if other is None:
            key = replace(self.key, capacity=capacity)
            other = Bucket(self._store, key, step, state, self._graphs)
        else:
            values = tensors_of((step, state))
            for place, value in zip(other._tensors(), values, strict=True):
                place.copy_(value)
        other._lanes = [self._lanes[row] for row in rows] + [None] * idle
        other._steps = [self._steps[row] for row in rows] + [0] * idle
        other.keys = [self.keys[row] for row in rows] + [None] * idle
        other._index_M = None
        for row in rows:
            self.leave(self.keys[row])
        return other

    @property
    def steps(self) -> list[int]:
        """Number of steps done by each lane."""
        return [self._steps[row] for row in self.rows]

    @property
    def largest_pixel_N(self) -> Tensor:
        """Largest absolute pixel value of each lane."""
        return largest_pixel(self._state.images_N3HW)[self.locate()]

    @property
    def loss_scale_N(self) -> Tensor:
        """Factor of each lane's loss in float16; see `LossScaler`."""
        return self._state.shared["loss_scale"][self.locate()]

    @property
    def null_loss_N(self) -> Tensor:
        """Loss of an image without features, see `BatchLoss`."""
        return self._step.null_loss_N[self.locate()]

    def state(self, key: Hashable) -> LaneState:
        """Return the current state of a lane as views, which the next step may overwrite."""
        row = self.keys.index(key)
        lane = self._lanes[row]
        assert lane is not None
        return self._step.lane_state(self._state, row, lane.config, self._steps[row])

    def advance(self, steps: int) -> Losses:
        """Take ``steps`` steps and return the losses of the lanes before the last one.

        The host does not wait for the device.
        """
        with arithmetic(self._precision, self._store.device):
            for _ in range(steps):
                losses = self._recorded_step() or self._eager_step()
                for row in self.rows:
                    self._steps[row] += 1
        # A recorded step overwrites the losses of the step before it.
        return losses.detached(self.locate())

    @property
    def _precision(self) -> str:
        return next(lane.config.precision for lane in self._lanes if lane is not None)

    def locate(self) -> Tensor:
        """Return the rows that have a lane as a tensor, copied to the device once."""
        if self._index_M is None:
            self._index_M = torch.tensor(self.rows, device=self._store.device)
        return self._index_M

    def _eager_step(self) -> Losses:
        due = [
            lane is not None and balance_due(lane.config, step)
            for lane, step in zip(self._lanes, self._steps, strict=True)
        ]
        # One assignment: if the step raises, all lanes are still at their previous step.
        losses, self._state = self._step(self._state, due)
        self._eager_steps += 1
        return losses

    def _recorded_step(self) -> Losses | None:
        """Take one step as a CUDA graph and return its losses; None if there is no graph."""
        if self._graph is None and self._graphs is not None and self.key.kinds.recordable:
            self._graph = self._graphs.record(
                self._step_on_tensors,
                tensors_of(self._state),
                kind=self.key,
                taken=self._eager_steps,
                precision=self._precision,
            )
            if self._graph is not None:
                self._state = self._with_tensors(self._graph.state)
        return None if self._graph is None else Losses.from_tensors(self._graph.launch())

    def _step_on_tensors(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        losses, state = self._step(self._with_tensors(tensors))
        return losses.tensors(), tensors_of(state)

    def _with_tensors(self, tensors: Sequence[Tensor]) -> BatchState:
        remaining = iter(tensors)
        return map_rows(lambda _: next(remaining), self._state)


class Buckets:
    """Finds a bucket for the lanes of a batch, and keeps recorded ones for the next lanes.

    Args:
        store: extractors and targets.
        graphs: records steps as CUDA graphs; None: every step is eager.
    """

    def __init__(self, store: FeatureStore, graphs: StepGraphs | None = None):
        self._store, self._graphs = store, graphs
        self._free: OrderedDict[BucketKey, Bucket] = OrderedDict()

    @staticmethod
    def for_store(store: FeatureStore) -> Buckets | None:
        """Return buckets for a store on a GPU; None for a CPU, where an `Assembly` is faster."""
        if store.device.type != "cuda":
            return None
        return Buckets(store, StepGraphs.for_device(store.device))

    @property
    def recordings(self) -> int:
        """Number of steps that were begun to be recorded as CUDA graphs."""
        return self._graphs.attempts if self._graphs else 0

    @staticmethod
    def can_hold(kinds: StepKinds) -> bool:
        """Return whether such lanes can be rows: the sparse matrices of ``photo`` cannot."""
        return "photo" not in kinds.losses.flags

    def bucket(
        self, group: Hashable, lanes: Mapping[Hashable, SteppedLane], current: Bucket | None
    ) -> Bucket:
        """Return a bucket of the right size that has exactly these lanes.

        Args:
            group: `GroupKey` of the lanes.
            lanes: the lanes, by key; states of lanes in ``current`` are those in their rows.
            current: a bucket of some of these lanes, and of no others; None: there is none.
        """
        kinds = StepKinds.of([(lane.config, lane.inputs) for lane in lanes.values()])
        key = BucketKey(group=group, kinds=kinds, capacity=capacity_for(len(lanes)))
        if current is not None and current.rows and _suits(current.key.kinds, kinds):
            key = replace(key, kinds=current.key.kinds)
            bucket = current
            if key != current.key:
                bucket = current.moved_into(self._free_or_none(key), key.capacity)
        else:
            free = self._free_or_none(key)
            bucket = Bucket.of(self._store, key, lanes, self._graphs) if free is None else free
        missing = {name: lane for name, lane in lanes.items() if name not in bucket.keys}
        if missing:
            bucket.join(missing)
        if current is not None and bucket is not current:
            self.release(current)
        bucket.locate()
        return bucket

    def _free_or_none(self, key: BucketKey) -> Bucket | None:
        return self._free.pop(key) if key in self._free else None

    def release(self, bucket: Bucket) -> None:
        """Keep a bucket for other lanes if its steps are recorded; its lanes leave it."""
        for key in [key for key in bucket.keys if key is not None]:
            bucket.leave(key)
        if bucket.is_recorded:
            self._free[bucket.key] = bucket
            while len(self._free) > KEPT_FREE:
                self._free.popitem(last=False)

    def clear(self) -> None:
        """Drop all buckets without lanes, to free their memory."""
        self._free.clear()


def _suits(kinds: StepKinds, needed: StepKinds) -> bool:
    """Return whether lanes may stay in a bucket of some kinds, given what they need."""
    records = kinds.recordable or not needed.recordable
    return kinds.covers(needed) and records and kinds.terms <= MOST_UNUSED * needed.terms


def _picked(tree: T, index_M: Tensor, size: int) -> T:
    """Return rows of all tensors of a tree, whose first axis has ``size`` lanes."""

    def picked(value: Tensor) -> Tensor:
        rows = _by_lane(value, size)[index_M].flatten(0, 1)
        return rows.contiguous(memory_format=MEMORY_FORMAT) if rows.ndim == 4 else rows

    return map_rows(picked, tree)


def _by_lane(rows: Tensor, size: int) -> Tensor:
    """Return a view of shape [lanes, rows per lane, …]; terms have a row per lane and region."""
    return rows.view(size, -1, *rows.shape[1:])
