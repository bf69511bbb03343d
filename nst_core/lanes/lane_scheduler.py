"""LaneScheduler: decides which lanes of an engine share a batch, and which batch advances next."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from nst_core.config import StyleConfig
from nst_core.lanes.batch import GroupKey, LaneBatch, Outcome, group_of
from nst_core.lanes.batch_size import REPLAN_TURNS, BatchSize
from nst_core.lanes.bucket import Buckets, capacity_for
from nst_core.lanes.device import (
    OUT_OF_MEMORY,
    describe_error,
    is_broken_device,
    is_out_of_memory,
    release_memory,
)
from nst_core.lanes.lane_state import LaneState
from nst_core.lanes.memory import LANES_SHARE, LaneNeed, lane_need, lanes_bytes
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore

#: Largest number of steps that a batch takes in one turn on a CPU, and on a GPU, where a step takes
#: only 3 to 6 ms and each turn ends with a wait for the device. A lane can join, leave or be scored
#: only between two turns.
CHUNK_STEPS, GPU_CHUNK_STEPS = 10, 100
#: Seconds that one turn of every batch together should take at most.
CHUNK_S = 0.5

#: The same limit for a batch with a lane that runs ahead of a decision. The answer that may stop
#: the lane takes about as long.
AHEAD_S = 0.1

#: Trial number and pair number of a lane.
LaneKey = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Result of one turn of a batch.

    Attributes:
        batch: the batch; per-lane fields have the order of its lanes.
        steps: number of steps taken; 0 after an error.
        seconds: duration of the turn.
        losses: loss terms of each lane by name before the last step; None after an error.
        failures: for each lane the reason why it cannot continue, or None.
    """

    batch: LaneBatch
    steps: int
    seconds: float
    losses: Sequence[Mapping[str, float]] | None
    failures: list[str | None]


class LaneScheduler:
    """The lanes of an engine, in batches that advance in turn.

    Args:
        store: extractors and targets, on the device where the lanes advance.
        memory_share: share of the device's memory that the lanes of this engine may use. Several
            engines on one GPU divide `LANES_SHARE` among them.
    """

    def __init__(self, store: FeatureStore, *, memory_share: float = LANES_SHARE):
        self._store, self._memory_share = store, memory_share
        self._buckets = Buckets.for_store(store)
        self._most_steps = GPU_CHUNK_STEPS if store.device.type == "cuda" else CHUNK_STEPS
        self._turns: deque[LaneBatch] = deque()
        self._batch_of: dict[LaneKey, LaneBatch] = {}
        self._sizes: dict[GroupKey, BatchSize] = {}
        self._step_s: dict[GroupKey, float] = {}
        # Lanes that a batch had in its last turn.
        self._last_lanes: WeakKeyDictionary[LaneBatch, list[LaneKey]] = WeakKeyDictionary()
        # Lanes of batches that raised an error. Each advances alone until the faulty one is found.
        self._suspects: set[LaneKey] = set()

    def __len__(self) -> int:
        return len(self._batch_of)

    def __contains__(self, key: LaneKey) -> bool:
        return key in self._batch_of

    def steps(self) -> list[tuple[LaneKey, int]]:
        """Return every lane with its number of steps done."""
        return [(lane.key, lane.step) for batch in self._turns for lane in batch.lanes]

    def put(
        self, key: LaneKey, config: StyleConfig, inputs: LossInputs, state: LaneState | None
    ) -> None:
        """Add a lane that continues from ``state``; None: a fresh lane."""
        group = group_of(config, inputs, state.step if state else 0)
        self._plan_for(group, self._need(group, config, inputs))
        self._add(self._batch_with_room(group), key, config, inputs, state)

    def _add(
        self,
        batch: LaneBatch | None,
        key: LaneKey,
        config: StyleConfig,
        inputs: LossInputs,
        state: LaneState | None,
    ) -> None:
        """Add a lane to a batch; None: to a new one."""
        batch = batch or LaneBatch(self._store, self._buckets)
        batch.add(key, config, inputs, state)
        if len(batch) == 1:
            self._turns.append(batch)
        self._batch_of[key] = batch

    def take(self, key: LaneKey) -> LaneState:
        """Remove a lane and return its state."""
        self._suspects.discard(key)
        return self._remove(key)

    def _remove(self, key: LaneKey) -> LaneState:
        batch = self._batch_of.pop(key)
        state = batch.take(key)
        if not len(batch):
            self._turns.remove(batch)
        return state

    def save(self, key: LaneKey) -> LaneState:
        """Return a copy of a lane's state on the CPU; the lane stays in its batch."""
        return self._batch_of[key].save(key)

    def enter_next_stage(self, key: LaneKey, config: StyleConfig, inputs: LossInputs) -> None:
        """Move a lane into a batch of its next image size, if its stage is over."""
        (lane,) = (lane for lane in self._batch_of[key].lanes if lane.key == key)
        if lane.step >= lane.stage.until:
            self.put(key, config, inputs, self.take(key))

    def advance(
        self, steps_left: Callable[[LaneBatch], int], runs_ahead: Callable[[LaneBatch], bool]
    ) -> Chunk:
        """Advance the batch whose turn it is.

        Args:
            steps_left: returns the steps until the first lane of a batch must be scored.
            runs_ahead: returns whether any lane of a batch runs ahead of a decision, which may
                stop it at any moment.
        """
        batch = self._turns.popleft()
        self._turns.append(batch)
        group = batch.group  # the turn may end the stage, and with it the group
        try:
            return self._turn(group, batch, steps_left, runs_ahead)
        except Exception as error:  # the settings of a lane may cause any error
            if is_broken_device(error):
                raise
            no_memory, reason = is_out_of_memory(error), describe_error(error)
        # Only now: the traceback of the error kept the tensors of the failed step alive.
        if no_memory:
            if self._buckets:
                self._buckets.clear()
            release_memory()
            self._sizes[group].memory.record_out_of_memory(len(batch))
            return _failed_chunk(batch, OUT_OF_MEMORY)
        return self._after_error(batch, reason)

    def _turn(
        self,
        group: GroupKey,
        batch: LaneBatch,
        steps_left: Callable[[LaneBatch], int],
        runs_ahead: Callable[[LaneBatch], bool],
    ) -> Chunk:
        started, recordings = time.perf_counter(), self._recordings
        batch.prepare()
        prepared = time.perf_counter()
        chunk_s = AHEAD_S if runs_ahead(batch) else CHUNK_S
        steps = min(self._chunk_steps(group, chunk_s), batch.stage_steps_left, steps_left(batch))
        losses = batch.advance(steps)
        readings = batch.readings(losses)
        done = time.perf_counter()
        self._step_s[group] = (done - prepared) / steps
        recorded = self._recordings > recordings
        self._measure(group, batch, None if recorded else self._step_s[group])
        return Chunk(
            batch=batch,
            steps=steps,
            seconds=done - started,
            losses=[reading.losses for reading in readings],
            failures=[
                None if reading.outcome is Outcome.RUNNING else reading.outcome.value
                for reading in readings
            ],
        )

    def _measure(self, group: GroupKey, batch: LaneBatch, step_s: float | None) -> None:
        """Record the time of a step; None: the turn recorded a step."""
        lanes = [lane.key for lane in batch.lanes]
        settled = self._last_lanes.get(batch) == lanes
        self._last_lanes[batch] = lanes
        self._sizes[group].record_turn(len(batch), step_s, settled=settled)

    @property
    def _recordings(self) -> int:
        """Number of steps that this process began to record as CUDA graphs."""
        return self._buckets.recordings if self._buckets else 0

    def rebalance(self) -> None:
        """Separate suspects, split batches that are too large, and join batches that fit."""
        for batch in list(self._turns):
            for lane in batch.lanes[1:]:
                if lane.key in self._suspects:
                    self._move(lane.key, lane.config, lane.inputs)
        for group in {batch.group for batch in self._shared_batches()}:
            if self._sizes[group].memory.turns_since_plan >= REPLAN_TURNS:
                self._plan_again(group)
            limit = self._sizes[group].limit
            batches = [batch for batch in self._shared_batches() if batch.group == group]
            lanes = sum(len(batch) for batch in batches)
            needed = -(-lanes // limit)
            for batch in sorted(batches, key=len)[: max(0, len(batches) - needed)]:
                for lane in list(batch.lanes):
                    self._move(lane.key, lane.config, lane.inputs)
            for batch in batches:
                for lane in batch.lanes[limit:]:
                    self._move(lane.key, lane.config, lane.inputs)

    def _move(self, key: LaneKey, config: StyleConfig, inputs: LossInputs) -> None:
        """Move a lane into another batch of its group; a suspect into a batch of its own."""
        origin = self._batch_of[key]
        state = self._remove(key)
        target = None
        if key not in self._suspects:
            target = self._batch_with_room(group_of(config, inputs, state.step), exclude=origin)
        self._add(target, key, config, inputs, state)

    def _shared_batches(self) -> list[LaneBatch]:
        return [batch for batch in self._turns if not self._has_suspect(batch)]

    def _has_suspect(self, batch: LaneBatch) -> bool:
        return batch.lanes[0].key in self._suspects

    def _batch_with_room(
        self, group: GroupKey, exclude: LaneBatch | None = None
    ) -> LaneBatch | None:
        limit = self._sizes[group].limit
        for batch in self._shared_batches():
            if batch is not exclude and batch.group == group and len(batch) < limit:
                return batch
        return None

    def _chunk_steps(self, group: GroupKey, chunk_s: float) -> int:
        """Return the number of steps for one turn, from the time of the group's last steps."""
        return chunk_steps(
            self._step_s.get(group), chunk_s / len(self._turns), most=self._most_steps
        )

    def _plan_for(self, group: GroupKey, need: LaneNeed) -> None:
        """Plan how many lanes fit if a new lane needs more than those before it."""
        memory = self._sizes.setdefault(group, BatchSize()).memory
        largest = LaneNeed.largest([memory.need, need])
        if largest != memory.need:
            memory.plan(largest, self._lanes_that_fit(largest))

    def _plan_again(self, group: GroupKey) -> None:
        """Plan how many lanes fit, from the lanes that are there and the memory that is free."""
        lanes = (lane for batch in self._turns if batch.group == group for lane in batch.lanes)
        needs = [self._need(group, lane.config, lane.inputs) for lane in lanes]
        need = LaneNeed.largest(needs)
        self._sizes[group].memory.plan(need, self._lanes_that_fit(need))

    def _lanes_that_fit(self, need: LaneNeed) -> int:
        lanes = need.lanes_in(lanes_bytes(self._store.device, self._memory_share))
        while self._buckets and capacity_for(lanes) > lanes:  # idle rows take memory, too
            lanes -= 1
        return lanes

    def _need(self, group: GroupKey, config: StyleConfig, inputs: LossInputs) -> LaneNeed:
        return lane_need(
            config,
            group.height,
            group.width,
            device=self._store.device,
            masks=inputs.masks,
            checkpointing=self._store.checkpointing,
        )

    def _after_error(self, batch: LaneBatch, reason: str) -> Chunk:
        """Let each lane advance alone until the faulty one is known; then lanes may join again."""
        if len(batch) == 1:
            self._suspects.clear()
        else:
            self._suspects.update(lane.key for lane in batch.lanes)
        return _failed_chunk(batch, reason)


def chunk_steps(step_s: float | None, share_s: float, *, most: int) -> int:
    """Return the number of steps for a turn.

    Args:
        step_s: seconds of a step; None: not known yet.
        share_s: seconds that the turn should take at most.
        most: largest number of steps.
    """
    if step_s is None:
        return CHUNK_STEPS
    return most if step_s * most <= share_s else max(1, int(share_s / step_s))


def _failed_chunk(batch: LaneBatch, reason: str) -> Chunk:
    """Return the result of a turn that raised an error; only a lane that was alone has failed."""
    failures: list[str | None] = [reason] if len(batch) == 1 else [None] * len(batch)
    return Chunk(batch=batch, steps=0, seconds=0.0, losses=None, failures=failures)
