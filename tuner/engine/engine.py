"""Engine: the trials of one GPU or CPU worker, advancing as batches of lanes.

Plain Python, no Ray: the inline backend steps through it, the Ray backend wraps it in an actor. A
trial is one lane per pair of the job. Asked to bring a trial to some step, the engine advances its
lanes together with everyone else's and scores the images there. While the answer is on its way and
judged, the lanes run ahead to the next step that they may be asked for, so that nobody waits for
anybody; what a trial that is then dropped ran ahead is lost, and counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.images.encode import encode_png
from nst_core.images.tensors import to_uint8
from nst_core.lanes.assembly import LaneState
from nst_core.lanes.batch import Lane, LaneBatch
from nst_core.lanes.checkpoints import dump_lanes
from nst_core.lanes.device import described, is_broken_device
from nst_core.lanes.hardware import device_name
from nst_core.lanes.scheduler import Chunk, LaneKey, LaneScheduler
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.registry import DEFAULT_METRICS
from nst_core.metrics.suite import MetricSuite
from nst_core.networks.precision import exact_by_default
from nst_core.networks.weights import Weights
from nst_core.stylization import lane_losses
from tuner.engine.pairs import Pair, memory_gb
from tuner.engine.scoring import Scorer
from tuner.engine.trial_state import EngineTrial, Reached, ahead
from tuner.study.records import EngineStats, Report, mean_scores


class Engine:
    """Advances trials in batches.

    Args:
        pairs: what every trial runs on.
        holdout: further pairs, for trials that ask for them.
        weights: name -> weights of every network that a trial or a metric may read.
        device: where to work.
        threads: CPU threads for torch, or None to leave the setting alone.
        metrics: what images are scored by.
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
    ):
        if threads:
            torch.set_num_threads(threads)
        self._searched, self._pairs = len(pairs), [*pairs, *holdout]
        exact_by_default()
        self._store = FeatureStore(weights.__getitem__, device)
        self._batches = LaneScheduler(self._store)
        self._scorer = Scorer(
            MetricSuite.load(weights.__getitem__, device, metrics=metrics),
            [pair.reference_HW3 for pair in self._pairs],
            [pair.content_HW3 for pair in self._pairs],
        )
        self._trials: dict[int, EngineTrial] = {}
        self._stats = EngineStats(device=device_name(device))
        self._since: float | None = None

    @property
    def busy(self) -> bool:
        """Whether there is anything to advance or to report."""
        return bool(self._batches) or any(self._answerable(t) for t in self._trials.values())

    @property
    def trials(self) -> int:
        """Trials that it holds."""
        return len(self._trials)

    def holds(self, trial: int) -> bool:
        """Whether a trial is here."""
        return trial in self._trials

    @property
    def lanes(self) -> int:
        """Lanes that advance or wait for their turn."""
        return len(self._batches)

    @property
    def stats(self) -> EngineStats:
        """What the engine did with its time since the first trial came."""
        alive_s = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._stats.at(alive_s)

    @property
    def steps(self) -> Mapping[int, int]:
        """Trial -> the step that the slowest of its lanes that are under way is at."""
        steps: dict[int, int] = {}
        for (trial, _), step in self._batches.steps():
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
        """Ask for a trial to be brought to step ``until``; `advance` reports when it is there.

        Then it goes on to ``beyond``, whose report is held back until it is asked for. Submitting a
        trial with other settings, or to where it was asked to be before, restarts it. What goes
        wrong with it ends it, and is reported.

        Args:
            trial: its number.
            config: its settings.
            until: where to.
            beyond: where it will be asked to come after that, if it is.
            holdout: whether it runs on the held-out pairs as well.
            paused: what `pause` gave, to go on from there; if that is not possible, the trial
                begins again and its report says so.
        """
        self._since = self._since or time.perf_counter()
        known = self._trials.get(trial)
        if known is None or known.config != config or until <= known.asked:
            self.drop(trial)
            pairs = len(self._pairs) if holdout else self._searched
            known = self._trials[trial] = EngineTrial(config=config, pairs=pairs)
            known.away = dict.fromkeys(range(pairs))
            if paused is not None:
                self._take_up(known, paused, until)
        been = max([known.asked, *(r.steps for r in known.reached)])
        known.asked = until
        to_come = {stop for stop in (until, beyond) if stop is not None and stop > been}
        known.stops = sorted({*known.stops, *to_come})
        with self._blaming(trial):
            if known.taken_up is not None:
                self._look_at_the_arrived(known)
            self._send(trial)
            if known.taken_up is not None:
                self._stop(trial)

    def _take_up(self, known: EngineTrial, paused: bytes, until: int) -> None:
        try:
            materials = [pair.materials for pair in self._pairs[: known.pairs]]
            # Counted as lost when it was paused, on this engine or another; now they are not.
            self._stats.lane_steps_lost -= known.take_up(paused, materials, until)
        except InputError as error:
            known.remark = f"its saved lanes could not be used, so it began again: {error}"

    def _look_at_the_arrived(self, known: EngineTrial) -> None:
        """Lanes that ran ahead before they were paused may be where they should go already."""
        for pair, state in known.away.items():
            if state is not None and known.stops and state.step >= known.stops[0]:
                batch = LaneBatch(self._store)
                batch.add(pair, known.config, self._pairs[pair].materials, state)
                known.images[pair] = to_uint8(batch.picture(pair))

    def pause(self, trial: int) -> bytes:
        """Take a trial out to go on later, on this engine or another.

        Its lanes are kept as they are, with what they ran ahead.

        Raises:
            KeyError: there is no such trial.
        """
        known = self._trials[trial]
        lanes = self._all_out(trial, known)
        del self._trials[trial]
        self._stats.lane_steps_lost += ahead(lanes, known.asked)
        return self._packed(known, lanes)

    def drop(self, trial: int) -> None:
        """Forget a trial; its lanes' places are free at once. Unknown trials are ignored."""
        known = self._trials.pop(trial, None)
        if known is None:
            return
        lanes = self._all_out(trial, known)
        self._stats.lane_steps_lost += ahead(lanes, known.asked)

    def images(self, trial: int) -> list[bytes]:
        """PNG files of a trial's images as last reported, one per pair."""
        return [encode_png(image) for image in self._trials[trial].shown]

    def advance(self) -> list[Report]:
        """Advance one batch by one chunk; returns the trials that got where they were asked to."""
        if self._batches:
            self._collect(self._batches.advance(self._steps_left, self._runs_ahead))
            self._batches.even_out()
        return self._answers(wait=not self._batches)

    # --- lanes ------------------------------------------------------------------------------------

    def _send(self, trial: int) -> None:
        """Put the lanes of a trial that has somewhere to go into batches."""
        known = self._trials[trial]
        if not known.stops or known.failure:
            return
        for pair, state in list(known.away.items()):
            if pair not in known.images:
                materials = self._pairs[pair].materials
                self._batches.put((trial, pair), known.config, materials, state)
                del known.away[pair]

    def _take(self, trial: int, pair: int) -> LaneState:
        return self._batches.take((trial, pair))

    def snapshot(self, trial: int) -> bytes:
        """A trial's lanes as they are, while they go on; for `submit` to begin from.

        Raises:
            KeyError: there is no such trial.
        """
        known = self._trials[trial]
        lanes = [
            self._batches.save((trial, pair)) if (trial, pair) in self._batches else state
            for pair in range(known.pairs)
            for state in [known.away.get(pair)]
        ]
        return self._packed(known, [lane for lane in lanes if lane is not None])

    def _packed(self, known: EngineTrial, lanes: Sequence[LaneState]) -> bytes:
        facts = {"seconds": known.seconds, "losses": known.losses, "asked": known.asked}
        return dump_lanes(lanes, facts)

    def _all_out(self, trial: int, known: EngineTrial) -> list[LaneState]:
        """Take all lanes of a trial out; those that have not begun have no state."""
        lanes = [
            self._take(trial, pair) if (trial, pair) in self._batches else known.away.get(pair)
            for pair in range(known.pairs)
        ]
        return [lane for lane in lanes if lane is not None]

    def _steps_left(self, batch: LaneBatch) -> int:
        return min(self._trials[key[0]].stops[0] - lane.step for key, lane in _keyed(batch))

    def _runs_ahead(self, batch: LaneBatch) -> bool:
        return any(lane.step >= self._trials[key[0]].asked for key, lane in _keyed(batch))

    def _collect(self, chunk: Chunk) -> None:
        """Look at every lane of a batch that had its turn."""
        self._count(chunk)
        stopped: set[int] = set()
        lanes = _keyed(chunk.batch)
        for (key, lane), failure in zip(lanes, chunk.failures, strict=True):
            if failure is not None:
                self._fail(key[0], lane.step, failure)
        for key, lane in lanes:
            known = self._trials[key[0]]
            if known.failure:
                continue
            with self._blaming(key[0]):
                if lane.step >= known.stops[0]:
                    known.images[key[1]] = to_uint8(chunk.batch.picture(key))
                    stopped.add(key[0])
                else:
                    self._batches.moved_on(key, known.config, self._pairs[key[1]].materials)
        for trial in stopped:
            with self._blaming(trial):
                self._stop(trial)

    def _count(self, chunk: Chunk) -> None:
        self._stats.advancing_s += chunk.seconds
        self._stats.chunks += 1
        self._stats.lane_steps += chunk.steps * len(chunk.batch)
        for index, (key, _) in enumerate(_keyed(chunk.batch)):
            trial = self._trials[key[0]]
            trial.seconds += chunk.seconds / len(chunk.batch)
            if chunk.losses is not None:
                trial.losses[key[1]] = lane_losses(chunk.losses, index)

    def _stop(self, trial: int) -> None:
        """Some lanes are at the next stop: they wait for the others, or all go on."""
        known = self._trials[trial]
        all_there = len(known.images) == known.pairs
        if all_there:
            images = [known.images[pair] for pair in range(known.pairs)]
            known.reached.append(
                Reached(
                    steps=known.stops.pop(0),
                    images=images,
                    losses=mean_scores(list(known.losses.values())),
                    seconds=known.seconds,
                    scores=self._scorer.score(images),
                )
            )
        for pair in known.images:
            if (trial, pair) not in self._batches:
                continue
            if all_there and known.stops:
                materials = self._pairs[pair].materials
                self._batches.moved_on((trial, pair), known.config, materials)
            else:
                known.away[pair] = self._take(trial, pair)
        if all_there:
            known.images = {}
            self._send(trial)

    @contextmanager
    def _blaming(self, trial: int) -> Iterator[None]:
        """Let what goes wrong with one trial end that trial, and no other."""
        try:
            yield
        except Exception as error:  # whatever its settings lead to
            if is_broken_device(error):
                raise
            self._fail(trial, self.steps.get(trial, self._trials[trial].asked), described(error))

    def _fail(self, trial: int, steps: int, reason: str) -> None:
        """End a trial; reported when it is asked for a step that it did not reach."""
        known = self._trials[trial]
        known.failure = known.failure or Report(
            trial=trial,
            steps=steps,
            seconds=known.seconds,
            failure=f"step {steps}: {reason}",
            remark=known.remark,
        )
        for pair in range(known.pairs):
            if (trial, pair) in self._batches:
                known.away[pair] = self._take(trial, pair)

    # --- reports ----------------------------------------------------------------------------------

    def _answerable(self, known: EngineTrial) -> bool:
        """Whether a trial has, or is about to have, something to report."""
        if known.reached:
            return known.reached[0].steps <= known.asked
        return known.failure is not None and bool(known.stops) and known.stops[0] <= known.asked

    def _answers(self, *, wait: bool) -> list[Report]:
        """Reports that are due and scored; waits for one if there is nothing else to do."""
        reports = []
        for trial, known in list(self._trials.items()):
            if not self._answerable(known):
                continue
            if not known.reached:
                reports.append(self._failed(trial))
            elif known.reached[0].scores.done() or (wait and not reports):
                reports.append(self._report(trial, known.reached.pop(0)))
        return reports

    def _failed(self, trial: int) -> Report:
        failure = self._trials[trial].failure
        assert failure is not None
        self.drop(trial)
        return failure

    def _report(self, trial: int, reached: Reached) -> Report:
        known = self._trials[trial]
        with self._blaming(trial):
            pair_scores = reached.scores.result()
            costs = {
                "seconds_per_image": reached.seconds / known.pairs,
                "vram_gb": memory_gb(self._pairs, known.config, self._store.device),
            }
            known.shown = reached.images
            taken_up, came_at, remark = known.taken_up, known.came_at, known.remark
            known.taken_up = known.came_at = known.remark = None
            return Report(
                trial=trial,
                steps=reached.steps,
                scores={**mean_scores(pair_scores[: self._searched]), **costs},
                pair_scores=pair_scores,
                losses=reached.losses,
                seconds=reached.seconds,
                taken_up=taken_up,
                came_at=came_at,
                remark=remark,
            )
        return self._failed(trial)


def _keyed(batch: LaneBatch) -> list[tuple[LaneKey, Lane]]:
    return [(lane.key, lane) for lane in batch.lanes]  # type: ignore[misc]
