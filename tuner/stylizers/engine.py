"""StylizerEngine: runs the trials of a stylizer in a worker process, one at a time.

It has the boundary of `tuner.engine.engine.Engine`. A trial that pauses ends in the worker, because
nobody can save the state of a foreign stylizer; if it is promoted, it makes its steps again. So
jobs with a stylizer of many steps are best off with the rule ``stop``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import torch

from nst_core.images.encode import encode_png
from nst_core.images.tensors import to_uint8
from nst_core.lanes.device import device_name
from nst_core.metrics.suite import MetricSuite
from nst_core.stylizer_config import StylizerConfig
from tuner.engine.pairs import Pair
from tuner.engine.scoring import scorer_of
from tuner.engine.workload import Workload
from tuner.job.objective import COST
from tuner.study.records import EngineStats, Report, mean_scores
from tuner.stylizers.messages import Message
from tuner.stylizers.process import WorkerProcess
from tuner.stylizers.trial_state import Request, StylizerTrial

#: Longest wait in seconds for a worker or for scores; then trials can be submitted or dropped.
WAIT_S = 0.05
#: A picture may have at most so many times the pixels of the content.
MAX_PIXELS = 4


class StylizerEngine:
    """Advances trials of a stylizer.

    Args:
        workload: pairs, weights of the metrics, and the stylizer.
        device: where the stylizer and the metrics compute.
        threads: number of CPU threads of both; None: do not change it.
    """

    def __init__(self, workload: Workload, *, device: str = "cpu", threads: int | None = None):
        assert workload.stylizer is not None
        if threads:
            torch.set_num_threads(threads)
        self._stylizer, self._device, self._threads = workload.stylizer, device, threads
        self._searched_pairs = len(workload.pairs)
        self._pairs = [*workload.pairs, *workload.holdout]
        self._scorer = scorer_of(
            lambda place: MetricSuite.load(
                workload.weights.__getitem__, place, metrics=workload.metrics
            ),
            [pair.reference_HW3 for pair in self._pairs],
            [pair.content_HW3 for pair in self._pairs],
            torch.device(device),
        )
        self._trials: dict[int, StylizerTrial] = {}
        self._worker: WorkerProcess | None = None
        self._open: set[int] = set()
        self._request: Request | None = None
        self._stats = EngineStats(device=device_name(device))
        self._first_trial_s: float | None = None

    @property
    def busy(self) -> bool:
        """Whether the worker is at work, or a report is due."""
        return any(t.waits or t.scores or t.failure for t in self._trials.values())

    @property
    def stats(self) -> EngineStats:
        """How the engine has spent its time since its first trial."""
        started = self._first_trial_s
        return self._stats.at(0.0 if started is None else time.perf_counter() - started)

    @property
    def steps(self) -> Mapping[int, int]:
        """Present step of each advancing trial, by trial number."""
        return {number: trial.step for number, trial in self._trials.items() if trial.waits}

    @property
    def worker(self) -> WorkerProcess | None:
        """The worker process, if there is one now."""
        return self._worker

    def holds(self, trial: int) -> bool:
        """Return whether a trial is on this engine."""
        return trial in self._trials

    def submit(
        self,
        trial: int,
        config: StylizerConfig,
        until: int,
        beyond: int | None = None,
        *,
        holdout: bool = False,
        paused: bytes | None = None,
    ) -> None:
        """Request a report of a trial at step ``until``; see `TrialEngine.submit`."""
        self._first_trial_s = self._first_trial_s or time.perf_counter()
        current = self._trials.get(trial)
        if current is None or current.config != config or until <= current.until:
            self.drop(trial)
            pairs = len(self._pairs) if holdout else self._searched_pairs
            self._trials[trial] = StylizerTrial(config=config, pairs=pairs, until=until)
            return
        current.until, current.images, current.costs = until, [], []

    def advance(self) -> list[Report]:
        """Work for a moment, and return the reports that are due and scored."""
        if self._request is None:
            self._begin_request()
        if self._request is not None and self._worker is not None:
            answer = self._worker.answer(WAIT_S)
            self._handle(answer) if answer else self._check_deadline()
        self._scorer.start()
        pending = [t.scores for t in self._trials.values() if t.scores and not t.scores.done()]
        if self._request is None and pending:
            pending[0].wait(WAIT_S)
        return [
            self._report(number, trial)
            for number, trial in list(self._trials.items())
            if trial.failure or (trial.scores and trial.scores.done())
        ]

    def images(self, trial: int) -> list[bytes]:
        """Return the images of a trial's last report as PNG files, one per pair."""
        return [encode_png(image) for image in self._trials[trial].reported]

    def pause(self, trial: int) -> None:
        """Remove a trial; its state cannot be saved."""
        self.drop(trial)

    def snapshot(self, trial: int) -> None:
        """Do nothing: the state of a trial cannot be saved."""

    def drop(self, trial: int) -> None:
        """Remove a trial; if the worker is busy with it, the worker is replaced."""
        if self._trials.pop(trial, None) and self._request and self._request.trial == trial:
            self._end_worker()

    def close(self) -> None:
        """End the worker process."""
        self._end_worker()

    # --- requests to the worker -------------------------------------------------------------------

    def _begin_request(self) -> None:
        """Send the worker what the first waiting trial needs next."""
        number = next((n for n, trial in self._trials.items() if trial.waits), None)
        if number is None:
            return
        trial = self._trials[number]
        pair = len(trial.images)
        if self._worker is None:
            self._worker = WorkerProcess(
                self._stylizer, max_bytes=self._max_bytes(), threads=self._threads
            )
            self._open = set()
            for other in self._trials.values():
                other.done = {}
            self._note_request("load", number)
        elif pair not in self._open:
            content, styles = pictures_of(self._pairs[pair])
            size_px = max(content.shape[:2])
            message = {"do": "open", "pair": pair, "size_px": size_px, "device": self._device}
            self._worker.request(message, [content, *styles])
            self._note_request("open", number)
        else:
            fresh = pair not in trial.done
            if fresh:  # the worker keeps the state of one trial only
                for other in self._trials.values():
                    other.done = other.done if other is trial else {}
            self._worker.request(
                {
                    "do": "advance",
                    "trial": number,
                    "pair": pair,
                    "fresh": fresh,
                    "params": dict(trial.config.params),
                    "seed": trial.config.seed,
                    "until": trial.until,
                }
            )
            trial.step = 0 if fresh else trial.step
            self._note_request("advance", number)

    def _note_request(self, what: str, trial: int) -> None:
        self._request = Request(what, trial, time.perf_counter())

    def _max_bytes(self) -> int:
        return MAX_PIXELS * max(pair.content_HW3.size for pair in self._pairs)

    def _handle(self, answer: Message) -> None:
        """Take note of a message of the worker."""
        request, content = self._request, answer.content
        assert request is not None
        trial = self._trials[request.trial]
        if "step" in content:
            trial.step = int(content["step"])
            return
        seconds = time.perf_counter() - request.started_s
        self._request = None
        if request.what == "advance":
            trial.seconds += seconds
        self._stats.advancing_s += seconds
        if "failure" in content:
            self._fail(request.trial, str(content["failure"]))
        elif request.what == "open":
            self._open.add(len(trial.images))
        elif request.what == "advance":
            self._take_picture(request.trial, trial, answer)

    def _take_picture(self, number: int, trial: StylizerTrial, answer: Message) -> None:
        pair = len(trial.images)
        picture = answer.pictures[0] if answer.pictures else None
        if picture is None or picture.shape != self._pairs[pair].content_HW3.shape:
            self._fail(number, "its process sent no picture of the content's size")
            return
        trial.images.append(picture)
        trial.step = int(answer.content["done"])
        if answer.content["cost"] is not None:
            trial.costs.append(float(answer.content["cost"]))
        self._stats.chunks += 1
        self._stats.lane_steps += trial.step - trial.done.get(pair, 0)
        trial.done[pair] = trial.step
        if not trial.waits:
            trial.scores = self._scorer.score(trial.images)

    def _check_deadline(self) -> None:
        """End the worker if it takes too long."""
        request, deadline_s = self._request, float(self._stylizer.get("deadline_s", 600.0))
        assert request is not None
        spent_s = time.perf_counter() - request.started_s
        if request.what == "advance":
            spent_s += self._trials[request.trial].seconds
        if spent_s > deadline_s:
            doing = {"load": "loading the stylizer", "open": "opening a pair", "advance": "it"}
            self._fail(
                request.trial,
                f"{doing[request.what]} took longer than {deadline_s:g} s"
                " (`stylizer.deadline_s`), so its process was ended",
            )

    def _fail(self, number: int, reason: str) -> None:
        """End a trial and replace the worker, whose state nobody knows now."""
        trial = self._trials[number]
        if self._request is not None and self._request.what == "advance":
            trial.seconds += time.perf_counter() - self._request.started_s
        trial.failure = f"the stylizer failed: {reason}"
        self._end_worker()

    def _end_worker(self) -> None:
        worker, self._worker, self._request = self._worker, None, None
        if worker is not None:
            worker.end()

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter may be about to end
            self._end_worker()

    # --- reports ----------------------------------------------------------------------------------

    def _report(self, number: int, trial: StylizerTrial) -> Report:
        if trial.failure is None:
            assert trial.scores is not None
            try:
                return self._success(number, trial, trial.scores.result())
            except Exception as error:  # of a metric
                trial.failure = f"scoring failed: {error}"
        del self._trials[number]
        return Report(trial=number, steps=trial.step, seconds=trial.seconds, failure=trial.failure)

    def _success(
        self, number: int, trial: StylizerTrial, pair_scores: Sequence[Mapping[str, float]]
    ) -> Report:
        costs: dict[str, float] = {"seconds_per_image": trial.seconds / trial.pairs}
        if len(trial.costs) == trial.pairs:
            costs[COST] = sum(trial.costs) / trial.pairs
        arrived_s, trial.arrived_s, trial.scores = trial.arrived_s, None, None
        trial.reported = trial.images
        return Report(
            trial=number,
            steps=trial.until,
            scores={**mean_scores(pair_scores[: self._searched_pairs]), **costs},
            pair_scores=pair_scores,
            seconds=trial.seconds,
            arrived_at=arrived_s,
        )


def pictures_of(pair: Pair) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the content and the style images of a pair as a stylizer gets them."""
    return pair.content_HW3, [to_uint8(image) for image, _ in pair.inputs.styles]
