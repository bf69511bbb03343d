"""Engine: runs the trials of one GPU or one CPU core as batches of lanes.

The engine does not use Ray: the inline backend calls it directly, the Ray backend wraps it in an
actor. A trial has one lane per pair of the job. On request, the engine advances a trial to a step,
together with the lanes of other trials, and scores its images there. While the search decides about
the report, the lanes run ahead to the next step that may be requested, so that the engine is never
idle. If the trial is dropped then, the steps that it ran ahead are lost, and counted in
`EngineStats.lane_steps_lost`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.images.encode import encode_png
from nst_core.images.tensors import to_levels
from nst_core.lanes.batch import LaneBatch
from nst_core.lanes.checkpoints import dump_lanes
from nst_core.lanes.device import describe_error, device_name, is_broken_device
from nst_core.lanes.lane_scheduler import Chunk, LaneScheduler
from nst_core.lanes.lane_state import LaneState
from nst_core.lanes.memory import LANES_SHARE
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.registry import DEFAULT_METRICS
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.precision import exact_by_default
from nst_core.networks.weights import Weights
from tuner.engine.pairs import Pair, memory_gb
from tuner.engine.scoring import scorer_of
from tuner.engine.trial_state import EngineTrial, RungResult, steps_ahead
from tuner.study.records import EngineStats, Report, mean_scores

#: Longest wait in seconds for scores when no lane can advance; then trials can be submitted again.
WAIT_S = 0.05


class Engine:
    """Advances trials in batches of lanes.

    Args:
        pairs: pairs on which every trial runs.
        weights: weights of every network that a trial or a metric may need, by name.
        holdout: held-out pairs, for trials that request them.
        device: where to compute.
        threads: number of CPU threads of torch; None: do not change it.
        metrics: names of the metrics that score images.
        memory_share: share of the device's memory that the lanes may use.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        weights: Mapping[str, Weights],
        *,
        holdout: Sequence[Pair] = (),
        device: torch.device | str = "cpu",
        threads: int | None = None,
        metrics: Sequence[str] = DEFAULT_METRICS,
        memory_share: float = LANES_SHARE,
    ):
        if threads:
            torch.set_num_threads(threads)
        self._searched_pairs, self._pairs = len(pairs), [*pairs, *holdout]
        exact_by_default()
        self._store = FeatureStore(weights.__getitem__, device)
        self._scheduler = LaneScheduler(self._store, memory_share=memory_share)
        self._scorer = scorer_of(
            lambda place: MetricSuite.load(weights.__getitem__, place, metrics=metrics),
            [pair.reference_HW3 for pair in self._pairs],
            [pair.content_HW3 for pair in self._pairs],
            self._store.device,
        )
        self._trials: dict[int, EngineTrial] = {}
        self._stats = EngineStats(device=device_name(device))
        self._first_trial_s: float | None = None

    @property
    def busy(self) -> bool:
        """Whether there are lanes to advance or reports to return."""
        return bool(self._scheduler) or any(t.has_report for t in self._trials.values())

    @property
    def trials(self) -> int:
        """Number of trials on this engine."""
        return len(self._trials)

    def holds(self, trial: int) -> bool:
        """Return whether a trial is on this engine."""
        return trial in self._trials

    @property
    def lanes(self) -> int:
        """Number of lanes in batches."""
        return len(self._scheduler)

    @property
    def stats(self) -> EngineStats:
        """How the engine has spent its time since its first trial."""
        started = self._first_trial_s
        return self._stats.at(0.0 if started is None else time.perf_counter() - started)

    @property
    def steps(self) -> Mapping[int, int]:
        """Smallest step of each trial's lanes in batches, by trial number."""
        steps: dict[int, int] = {}
        for (trial, _), step in self._scheduler.steps():
            steps[trial] = min(step, steps.get(trial, step))
        return steps

    def submit(
        self,
        trial: int,
        config: StyleConfig,
        until: int,
        beyond: int | None = None,
        *,
        holdout: bool = False,
        paused: bytes | None = None,
    ) -> None:
        """Request a report of a trial at step ``until``, which `advance` returns later.

        After that step, the trial runs ahead to step ``beyond``, and the engine holds the report of
        that step back until it is requested. A trial starts again if it is submitted with another
        configuration, or with a step that is not beyond its last request. An error in a trial ends
        this trial and is reported.

        Args:
            trial: number of the trial.
            config: its settings.
            until: step of the requested report.
            beyond: step of the report that may be requested next; None: do not run ahead.
            holdout: whether the trial also runs on the held-out pairs.
            paused: bytes from `pause` or `snapshot` to continue from. If they cannot be used, the
                trial begins again, and its report has a remark about it.
        """
        self._first_trial_s = self._first_trial_s or time.perf_counter()
        current = self._trials.get(trial)
        if current is None or current.config != config or until <= current.requested:
            self.drop(trial)
            pairs = len(self._pairs) if holdout else self._searched_pairs
            current = self._trials[trial] = EngineTrial(config=config, pairs=pairs)
            current.waiting = dict.fromkeys(range(pairs))
            if paused is not None:
                self._resume(current, paused, until)
        last_planned = max([current.requested, *(r.steps for r in current.results)])
        current.requested = until
        new_stops = {stop for stop in (until, beyond) if stop is not None and stop > last_planned}
        current.stops = sorted({*current.stops, *new_stops})
        with self._failing(trial):
            resumed = current.resumed_at is not None
            if resumed:
                self._collect_finished_lanes(current)
            self._start_lanes(trial)
            if resumed:
                self._finish_stop(trial)

    def _resume(self, current: EngineTrial, paused: bytes, until: int) -> None:
        try:
            inputs = [pair.inputs for pair in self._pairs[: current.pairs]]
            # `pause` counted these steps as lost, on this engine or on another one.
            self._stats.lane_steps_lost -= current.resume(paused, inputs, until)
        except InputError as error:
            current.remark = f"its saved lanes could not be used, so the trial began again: {error}"

    def _collect_finished_lanes(self, current: EngineTrial) -> None:
        """Take images of resumed lanes that had already run ahead to the next stop."""
        for pair, state in current.waiting.items():
            if state is not None and current.stops and state.step >= current.stops[0]:
                batch = LaneBatch(self._store)
                batch.add(pair, current.config, self._pairs[pair].inputs, state)
                current.images[pair] = to_levels(batch.picture(pair))

    def pause(self, trial: int) -> bytes:
        """Remove a trial and return its lanes as bytes, from which `submit` can continue it.

        The bytes include steps that the lanes ran ahead. Another engine can use them too.

        Raises:
            KeyError: the trial is not on this engine.
        """
        current = self._trials[trial]
        lanes = self._take_lanes(trial, current)
        del self._trials[trial]
        self._stats.lane_steps_lost += steps_ahead(lanes, current.requested)
        return self._packed(current, lanes)

    def drop(self, trial: int) -> None:
        """Remove a trial and free the places of its lanes; unknown trials are ignored."""
        current = self._trials.pop(trial, None)
        if current is None:
            return
        lanes = self._take_lanes(trial, current)
        self._stats.lane_steps_lost += steps_ahead(lanes, current.requested)

    def close(self) -> None:
        """Do nothing: lanes need no other process."""

    def snapshot(self, trial: int) -> bytes:
        """Return the lanes of a trial as bytes, like `pause`, while the trial continues.

        Raises:
            KeyError: the trial is not on this engine.
        """
        current = self._trials[trial]
        lanes = [
            self._scheduler.save((trial, pair))
            if (trial, pair) in self._scheduler
            else current.waiting.get(pair)
            for pair in range(current.pairs)
        ]
        return self._packed(current, [lane for lane in lanes if lane is not None])

    def images(self, trial: int) -> list[bytes]:
        """Return the images of a trial's last report as PNG files, one per pair."""
        images = self._trials[trial].reported_images
        return [encode_png(image.cpu().numpy()) for image in images]

    def advance(self) -> list[Report]:
        """Advance one batch by one chunk, and return the reports that are due and scored."""
        if self._scheduler:
            self._collect(self._scheduler.advance(self._steps_left, self._runs_ahead))
            self._scheduler.rebalance()
        self._scorer.start()
        return self._due_reports(wait=not self._scheduler)

    # --- lanes ------------------------------------------------------------------------------------

    def _start_lanes(self, trial: int) -> None:
        """Put the waiting lanes of a trial into batches, if the trial has a stop to reach."""
        current = self._trials[trial]
        if not current.stops or current.failure:
            return
        for pair, state in list(current.waiting.items()):
            if pair not in current.images:
                self._scheduler.put((trial, pair), current.config, self._pairs[pair].inputs, state)
                del current.waiting[pair]

    def _packed(self, current: EngineTrial, lanes: Sequence[LaneState]) -> bytes:
        facts = {"seconds": current.seconds, "losses": current.losses, "asked": current.requested}
        return dump_lanes(lanes, facts)

    def _take_lanes(self, trial: int, current: EngineTrial) -> list[LaneState]:
        """Remove all lanes of a trial and return their states; fresh lanes have none."""
        lanes = [
            self._scheduler.take((trial, pair))
            if (trial, pair) in self._scheduler
            else current.waiting.get(pair)
            for pair in range(current.pairs)
        ]
        return [lane for lane in lanes if lane is not None]

    def _steps_left(self, batch: LaneBatch) -> int:
        return min(self._trials[lane.key[0]].stops[0] - lane.step for lane in batch.lanes)

    def _runs_ahead(self, batch: LaneBatch) -> bool:
        return any(lane.step >= self._trials[lane.key[0]].requested for lane in batch.lanes)

    def _collect(self, chunk: Chunk) -> None:
        """Handle failures, images and stages of the lanes whose batch had its turn."""
        self._count(chunk)
        lanes = list(chunk.batch.lanes)
        for lane, failure in zip(lanes, chunk.failures, strict=True):
            if failure is not None:
                self._fail(lane.key[0], lane.step, failure)
        at_stop: set[int] = set()
        for lane in lanes:
            trial, pair = lane.key
            current = self._trials[trial]
            if current.failure:
                continue
            with self._failing(trial):
                if lane.step >= current.stops[0]:
                    current.images[pair] = to_levels(chunk.batch.picture(lane.key))
                    at_stop.add(trial)
                else:
                    self._scheduler.enter_next_stage(
                        lane.key, current.config, self._pairs[pair].inputs
                    )
        for trial in at_stop:
            with self._failing(trial):
                self._finish_stop(trial)

    def _count(self, chunk: Chunk) -> None:
        self._stats.advancing_s += chunk.seconds
        self._stats.chunks += 1
        self._stats.lane_steps += chunk.steps * len(chunk.batch)
        for index, lane in enumerate(chunk.batch.lanes):
            trial, pair = lane.key
            current = self._trials[trial]
            current.seconds += chunk.seconds / len(chunk.batch)
            if chunk.losses is not None:
                current.losses[pair] = chunk.losses[index]

    def _finish_stop(self, trial: int) -> None:
        """Score a trial of which all lanes are at the next stop; else let its lanes there wait."""
        current = self._trials[trial]
        all_there = len(current.images) == current.pairs
        if all_there:
            images = [current.images[pair] for pair in range(current.pairs)]
            current.results.append(
                RungResult(
                    steps=current.stops.pop(0),
                    images=images,
                    losses=mean_scores(list(current.losses.values())),
                    seconds=current.seconds,
                    scores=self._scorer.score(images),
                )
            )
        for pair in current.images:
            key = (trial, pair)
            if key not in self._scheduler:
                continue
            if all_there and current.stops:
                self._scheduler.enter_next_stage(key, current.config, self._pairs[pair].inputs)
            else:
                current.waiting[pair] = self._scheduler.take(key)
        if all_there:
            current.images = {}
            self._start_lanes(trial)

    @contextmanager
    def _failing(self, trial: int) -> Iterator[None]:
        """Turn an exception into a failure of one trial, unless the device is broken."""
        try:
            yield
        except Exception as error:  # the settings of a trial may cause any error
            if is_broken_device(error):
                raise
            step = self.steps.get(trial, self._trials[trial].requested)
            self._fail(trial, step, describe_error(error))

    def _fail(self, trial: int, steps: int, reason: str) -> None:
        """End a trial; the failure is reported in place of the next step that it did not reach."""
        current = self._trials[trial]
        current.failure = current.failure or Report(
            trial=trial,
            steps=steps,
            seconds=current.seconds,
            failure=f"step {steps}: {reason}",
            remark=current.remark,
        )
        for pair in range(current.pairs):
            if (trial, pair) in self._scheduler:
                current.waiting[pair] = self._scheduler.take((trial, pair))

    # --- reports ----------------------------------------------------------------------------------

    def _due_reports(self, *, wait: bool) -> list[Report]:
        """Return the requested reports whose scores are ready.

        Args:
            wait: wait a moment for the next scores, since there is nothing else to do.
        """
        due = [trial for trial in self._trials.values() if trial.has_report]
        pending = [t.results[0].scores for t in due if t.results and not t.results[0].scores.done()]
        if wait and pending and len(pending) == len(due):
            pending[0].wait(WAIT_S)
        reports = []
        for trial, current in list(self._trials.items()):
            if not current.has_report:
                continue
            if not current.results:
                reports.append(self._failed(trial))
            elif current.results[0].scores.done():
                reports.append(self._report(trial, current.results.pop(0)))
        return reports

    def _failed(self, trial: int) -> Report:
        failure = self._trials[trial].failure
        assert failure is not None
        self.drop(trial)
        return failure

    def _report(self, trial: int, result: RungResult) -> Report:
        current = self._trials[trial]
        with self._failing(trial):
            pair_scores = result.scores.result()
            costs = {
                "seconds_per_image": result.seconds / current.pairs,
                "vram_gb": memory_gb(self._pairs, current.config, self._store.device),
            }
            current.reported_images = result.images
            resumed_at, arrived_s, remark = current.resumed_at, current.arrived_s, current.remark
            current.resumed_at = current.arrived_s = current.remark = None
            return Report(
                trial=trial,
                steps=result.steps,
                scores={**mean_scores(pair_scores[: self._searched_pairs]), **costs},
                pair_scores=pair_scores,
                losses=result.losses,
                seconds=result.seconds,
                resumed_at=resumed_at,
                arrived_at=arrived_s,
                remark=remark,
            )
        return self._failed(trial)
