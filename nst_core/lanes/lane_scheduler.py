"""LaneScheduler: decides which lanes of an engine share a batch, and which batch advances next."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from nst_core.config import StyleConfig
from nst_core.lanes.batch import GroupKey, LaneBatch, Outcome, group_of
from nst_core.lanes.bucket import Buckets
from nst_core.lanes.device import (
    OUT_OF_MEMORY,
    describe_error,
    is_broken_device,
    is_out_of_memory,
)
from nst_core.lanes.lane_state import LaneState
from nst_core.lanes.memory import free_bytes, needed_bytes
from nst_core.losses.batch_loss import Losses
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore

#: Largest number of steps that a batch takes in one turn. A lane can join, leave or be scored only
#: between two turns.
CHUNK_STEPS = 10
#: Seconds that one turn of every batch together should take at most.
CHUNK_S = 0.5

#: The same limit for a batch with a lane that runs ahead of a decision. The answer that may stop
#: the lane takes about as long.
AHEAD_S = 0.1

#: Largest number of lanes in a batch before the first measurement of its group.
FIRST_LANES = 4

#: Turns without an out-of-memory error after which the memory limit of a group doubles again.
RETRY_TURNS = 200

#: Share of the free memory that the lanes of one batch may use.
LANES_SHARE = 0.8

#: Trial number and pair number of a lane.
LaneKey = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Result of one turn of a batch.

    Attributes:
        batch: the batch; per-lane fields have the order of its lanes.
        steps: number of steps taken; 0 after an error.
        seconds: duration of the turn.
        losses: losses before the last step; None after an error.
        failures: for each lane the reason why it cannot continue, or None.
    """

    batch: LaneBatch
    steps: int
    seconds: float
    losses: Losses | None
    failures: list[str | None]


@dataclass
class BatchSize:
    """Searches for the number of lanes per batch with the shortest time per lane and step.

    More lanes share more work, until their features no longer fit into the caches. Where that
    happens depends on the machine and on the image size, so it is measured: the limit doubles while
    that is faster, and then returns to the fastest size. An out-of-memory error halves the limit.
    Since another process may have used the memory for a moment, the limit doubles again after
    `RETRY_TURNS` turns without an error.

    Attributes:
        planned: number of lanes that should fit into memory, by estimate.
        masks: largest number of masks of a lane in the estimate; see `LossInputs.masks`.
    """

    planned: int
    masks: int = 0
    _too_many: int | None = None
    _turns_without_error: int = 0
    _lane_step_s: dict[int, float] = field(default_factory=dict)
    _warmed_up: set[int] = field(default_factory=set)

    @property
    def memory_limit(self) -> int:
        """Number of lanes that fit into memory, by estimate and by experience."""
        return self.planned if self._too_many is None else max(1, self._too_many // 2)

    @property
    def limit(self) -> int:
        """Number of lanes that a batch may have now."""
        if not self._lane_step_s:
            return min(self.memory_limit, FIRST_LANES)
        fastest = min(self._lane_step_s, key=self._lane_step_s.__getitem__)
        more_is_slower = any(lanes > fastest for lanes in self._lane_step_s)
        return min(self.memory_limit, fastest if more_is_slower else 2 * fastest)

    def record_time(self, lanes: int, step_s: float) -> None:
        """Record the seconds of a step with a number of lanes; a moving average reduces noise."""
        self._turns_without_error += 1
        if self._too_many is not None and self._turns_without_error >= RETRY_TURNS:
            self._turns_without_error, self._too_many = 0, 2 * self._too_many
            if self._too_many // 2 >= self.planned:
                self._too_many = None
        if lanes not in self._warmed_up:  # the first step of a new shape includes initialization
            self._warmed_up.add(lanes)
            return
        new = step_s / lanes
        old = self._lane_step_s.get(lanes, new)
        self._lane_step_s[lanes] = 0.7 * old + 0.3 * new

    def record_out_of_memory(self, lanes: int) -> None:
        """Record that a batch of this number of lanes ran out of memory."""
        self._too_many, self._turns_without_error = lanes, 0


class LaneScheduler:
    """The lanes of an engine, in batches that advance in turn.

    Args:
        store: extractors and targets, on the device where the lanes advance.
    """

    def __init__(self, store: FeatureStore):
        self._store = store
        self._buckets = Buckets.for_store(store)
        self._turns: deque[LaneBatch] = deque()
        self._batch_of: dict[LaneKey, LaneBatch] = {}
        self._sizes: dict[GroupKey, BatchSize] = {}
        self._step_s: dict[GroupKey, float] = {}
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
        size, masks = self._sizes.get(group), inputs.masks
        if size is None:
            planned = self._lanes_that_fit(config, group, masks)
            self._sizes[group] = BatchSize(planned=planned, masks=masks)
        elif masks > size.masks:
            size.masks = masks
            size.planned = min(size.planned, self._lanes_that_fit(config, group, masks))
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
        group = batch.group
        started = time.perf_counter()
        try:
            batch.prepare()
            prepared = time.perf_counter()
            chunk_s = AHEAD_S if runs_ahead(batch) else CHUNK_S
            steps = min(
                self._chunk_steps(group, chunk_s), batch.stage_steps_left, steps_left(batch)
            )
            losses = batch.advance(steps)
            outcomes = batch.outcomes(losses)
        except Exception as error:  # the settings of a lane may cause any error
            if is_broken_device(error):
                raise
            if is_out_of_memory(error):
                return self._after_out_of_memory(batch)
            return self._after_error(batch, describe_error(error))
        done = time.perf_counter()
        self._step_s[group] = (done - prepared) / steps
        self._sizes[group].record_time(len(batch), self._step_s[group])
        failures = [None if outcome is Outcome.RUNNING else outcome.value for outcome in outcomes]
        return Chunk(
            batch=batch, steps=steps, seconds=done - started, losses=losses, failures=failures
        )

    def rebalance(self) -> None:
        """Separate suspects, split batches that are too large, and join batches that fit."""
        for batch in list(self._turns):
            for lane in batch.lanes[1:]:
                if lane.key in self._suspects:
                    self._move(lane.key, lane.config, lane.inputs)
        for group in {batch.group for batch in self._shared_batches()}:
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
        share_s = chunk_s / len(self._turns)
        step_s = self._step_s.get(group, 0.0)
        return CHUNK_STEPS if step_s * CHUNK_STEPS <= share_s else max(1, int(share_s / step_s))

    def _lanes_that_fit(self, config: StyleConfig, group: GroupKey, masks: int) -> int:
        """Return how many lanes fit into the memory that is free now, at least 1."""
        device, size = self._store.device, (group.height, group.width)
        one, two = (
            needed_bytes(config, *size, device=device, lanes=n, masks=masks) for n in (1, 2)
        )
        free = free_bytes(device) * LANES_SHARE
        return max(1, 1 + int((free - one) // (two - one)))

    def _after_out_of_memory(self, batch: LaneBatch) -> Chunk:
        torch.cuda.empty_cache()
        self._sizes[batch.group].record_out_of_memory(len(batch))
        return _failed_chunk(batch, OUT_OF_MEMORY)

    def _after_error(self, batch: LaneBatch, reason: str) -> Chunk:
        """Let each lane advance alone until the faulty one is known; then lanes may join again."""
        if len(batch) == 1:
            self._suspects.clear()
        else:
            self._suspects.update(lane.key for lane in batch.lanes)
        return _failed_chunk(batch, reason)


def _failed_chunk(batch: LaneBatch, reason: str) -> Chunk:
    """Return the result of a turn that raised an error; only a lane that was alone has failed."""
    failures: list[str | None] = [reason] if len(batch) == 1 else [None] * len(batch)
    return Chunk(batch=batch, steps=0, seconds=0.0, losses=None, failures=failures)
