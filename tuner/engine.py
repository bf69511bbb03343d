"""Engine: the trials of one GPU or CPU worker, advancing as batches of lanes.

Plain Python, no Ray: the inline backend steps through it, the Ray backend wraps it in an actor. A
trial is one lane per pair of the job. Asked to bring a trial to some step, the engine advances its
lanes together with everyone else's, scores the images there, and parks the lanes until it is asked
again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from nst_core.assembly import LaneState
from nst_core.config import StyleConfig
from nst_core.encode import encode_png
from nst_core.images import to_uint8
from nst_core.lanes import GroupKey, Lane, LaneBatch, Outcome, group_of
from nst_core.metrics import Judge
from nst_core.stylization import lane_losses
from nst_core.targets import FeatureStore
from nst_core.weights import Weights
from tuner.evaluate import Pair, mean_scores
from tuner.records import Report

#: Steps between two looks at who came and went: at most this many, and at most so many as take this
#: long, so that a newcomer never waits long; reading the losses once per chunk then costs nothing.
CHUNK_STEPS = 10
CHUNK_S = 0.5

LaneKey = tuple[int, int]


@dataclass
class _Trial:
    config: StyleConfig
    until: int = 0
    seconds: float = 0.0
    parked: dict[int, LaneState] = field(default_factory=dict)
    losses: dict[int, Mapping[str, float]] = field(default_factory=dict)
    images: dict[int, np.ndarray] = field(default_factory=dict)


class Engine:
    """Advances trials in batches.

    Args:
        pairs: what every trial runs on.
        weights: name -> weights of every network that a trial or a metric may read.
        device: where to work.
        threads: CPU threads for torch, or None to leave the setting alone.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        weights: Mapping[str, Weights],
        *,
        device: torch.device | str = "cpu",
        threads: int | None = None,
    ):
        if threads:
            torch.set_num_threads(threads)
        self._pairs = pairs
        self._store = FeatureStore(weights.__getitem__, device)
        self._judge = Judge.load(weights.__getitem__, device)
        self._trials: dict[int, _Trial] = {}
        self._waiting: list[LaneKey] = []
        self._batches: dict[GroupKey, LaneBatch] = {}
        self._max_batch: int | None = None
        self._step_s: dict[GroupKey, float] = {}

    @property
    def busy(self) -> bool:
        """Whether any lane waits to be advanced."""
        return bool(self._waiting or self._batches)

    def submit(self, trial: int, config: StyleConfig, until: int) -> None:
        """Ask for a trial to be brought to step ``until``; `advance` reports when it is there.

        Submitting a trial that is already on its way restarts it.
        """
        known = self._trials.get(trial)
        if known is None or known.config != config or len(known.parked) < len(self._pairs):
            self.drop(trial)
            known = self._trials.setdefault(trial, _Trial(config=config))
        known.until = until
        known.images = {}
        self._waiting += [(trial, pair) for pair in range(len(self._pairs))]

    def drop(self, trial: int) -> None:
        """Forget a trial; its lanes' places are free at once. Unknown trials are ignored."""
        self._trials.pop(trial, None)
        self._waiting = [key for key in self._waiting if key[0] != trial]
        for group, batch in list(self._batches.items()):
            for lane in list(batch.lanes):
                if lane.key[0] == trial:  # type: ignore[index]
                    self._leave(group, lane.key)  # type: ignore[arg-type]

    def images(self, trial: int) -> list[bytes]:
        """PNG files of a trial's images as last scored, one per pair."""
        images = self._trials[trial].images
        return [encode_png(images[index]) for index in range(len(self._pairs))]

    def advance(self) -> list[Report]:
        """Advance one batch by one chunk; returns the trials that got where they were asked to."""
        self._admit()
        if not self._batches:
            return []
        group = next(iter(self._batches))
        batch = self._batches.pop(group)
        self._batches[group] = batch  # to the end of the queue: batches take turns
        started = time.perf_counter()
        try:
            remaining = [self._trials[key[0]].until - lane.step for key, lane in _keyed(batch)]
            steps = min(self._chunk(group), batch.room, *remaining)
            losses = batch.advance(steps)
            outcomes = batch.outcomes(losses)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            return self._shrink(group)
        elapsed = time.perf_counter() - started
        self._step_s[group] = elapsed / steps
        share = elapsed / len(batch)
        for index, (key, _) in enumerate(_keyed(batch)):
            trial = self._trials[key[0]]
            trial.seconds += share
            trial.losses[key[1]] = lane_losses(losses, index)
        return self._collect(group, outcomes)

    def _chunk(self, group: GroupKey) -> int:
        """Steps to take before the next look, from how long a step took last time."""
        step_s = self._step_s.get(group, 0.0)
        return CHUNK_STEPS if step_s * CHUNK_STEPS <= CHUNK_S else max(1, int(CHUNK_S / step_s))

    def _admit(self) -> None:
        """Put waiting lanes into the batches they fit; what does not fit waits on."""
        still_waiting = []
        for key in self._waiting:
            trial = self._trials[key[0]]
            materials = self._pairs[key[1]].materials
            parked = trial.parked.get(key[1])
            group = group_of(trial.config, materials, parked.step if parked else 0)
            batch = self._batches.get(group) or LaneBatch(self._store)
            if self._max_batch and len(batch) >= self._max_batch:
                still_waiting.append(key)
                continue
            batch.add(key, trial.config, materials, trial.parked.pop(key[1], None))
            self._batches[group] = batch
        self._waiting = still_waiting

    def _collect(self, group: GroupKey, outcomes: Sequence[Outcome]) -> list[Report]:
        """Park the lanes that arrived; report trials whose lanes all did, or that failed.

        A lane at the end of a stage leaves as well: its next size is another batch.
        """
        reports = []
        for (key, lane), outcome in zip(_keyed(self._batches[group]), outcomes, strict=True):
            if key[0] not in self._trials:
                continue  # another lane of this trial failed a moment ago
            trial = self._trials[key[0]]
            if outcome is not Outcome.RUNNING:
                reports.append(self._failure(key[0], lane.step, outcome))
            elif lane.step >= trial.until:
                trial.images[key[1]] = to_uint8(self._batches[group].picture(key))
                self._park(group, key)
                if len(trial.images) == len(self._pairs):
                    reports.append(self._score(key[0]))
            elif lane.step >= lane.stage.until:
                self._park(group, key)
                self._waiting.append(key)
        return reports

    def _park(self, group: GroupKey, key: LaneKey) -> None:
        self._trials[key[0]].parked[key[1]] = self._batches[group].save(key)
        self._leave(group, key)

    def _leave(self, group: GroupKey, key: LaneKey) -> None:
        self._batches[group].drop(key)
        if not len(self._batches[group]):
            del self._batches[group]

    def _score(self, number: int) -> Report:
        trial = self._trials[number]
        pair_scores = [
            self._judge.score(trial.images[index], pair.reference_HW3)
            for index, pair in enumerate(self._pairs)
        ]
        return Report(
            trial=number,
            steps=trial.until,
            scores=mean_scores(pair_scores),
            pair_scores=pair_scores,
            losses=mean_scores(list(trial.losses.values())),
            seconds=trial.seconds,
        )

    def _failure(self, number: int, steps: int, outcome: Outcome) -> Report:
        seconds = self._trials[number].seconds
        self.drop(number)
        return Report(
            trial=number, steps=steps, seconds=seconds, failure=f"step {steps}: {outcome.value}"
        )

    def _shrink(self, group: GroupKey) -> list[Report]:
        """After running out of memory: go on with half the lanes, or give up on a lone one."""
        batch = self._batches[group]
        if self._store.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) == 1:
            ((key, lane),) = _keyed(batch)
            return [self._failure(key[0], lane.step, Outcome.OUT_OF_MEMORY)]
        self._max_batch = len(batch) // 2
        for key, _ in _keyed(batch)[self._max_batch :]:
            self._park(group, key)
            self._waiting.append(key)
        return []


def _keyed(batch: LaneBatch) -> list[tuple[LaneKey, Lane]]:
    return [(lane.key, lane) for lane in batch.lanes]  # type: ignore[misc]


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
