"""Scorers: score images in the background while the engine advances lanes.

`scorer_of` chooses one: a thread for a CPU, a second stream for a GPU.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Protocol

import torch
from torch import Tensor

from nst_core.lanes.device import is_out_of_memory, release_memory
from nst_core.metrics.measure import Images
from nst_core.metrics.suite import MetricSuite
from tuner.study.records import Scores

#: Makes the suite of a job's metrics on a device.
SuiteOn = Callable[[torch.device], MetricSuite]


class ScoreResult(Protocol):
    """Scores of one request, which are computed in the background."""

    def done(self) -> bool:
        """Return whether `result` returns without waiting."""

    def wait(self, timeout_s: float) -> None:
        """Wait until the scores are ready, at most ``timeout_s`` seconds."""

    def result(self) -> Sequence[Scores]:
        """Return the scores of each image, or raise the error of their computation."""


class Scorer(Protocol):
    """Scores images against the references of a job's pairs."""

    def score(self, images: Images) -> ScoreResult:
        """Request the scores of images.

        Args:
            images: uint8 images HW3 of the first pairs, one per pair.
        """

    def start(self) -> None:
        """Begin all requests that have not begun; they are computed together."""


def scorer_of(
    suite_on: SuiteOn, references: Images, contents: Images, device: torch.device
) -> Scorer:
    """Return the scorer for a device.

    Args:
        suite_on: makes the suite of metrics.
        references: uint8 reference HW3 of each pair.
        contents: uint8 content image HW3 of each pair, of the reference's size.
        device: where the images are.
    """
    if device.type == "cuda":
        return StreamScorer(suite_on, references, contents, SideStream(device))
    return ThreadScorer(suite_on(device), references, contents)


class _Goals:
    """What the images of each pair are compared with."""

    def __init__(self, references: Images, contents: Images):
        self._references, self._contents = references, contents

    def of_all(self, requests: Sequence[Images]) -> tuple[Images, Images, Images]:
        """Return images, references and contents of all requests, one after the other."""
        return (
            [image for images in requests for image in images],
            [goal for images in requests for goal in self._references[: len(images)]],
            [goal for images in requests for goal in self._contents[: len(images)]],
        )


class _Future(Future[Sequence[Scores]]):
    def wait(self, timeout_s: float) -> None:
        wait_for([self], timeout_s)


#: Images and the future of their scores.
_Request = tuple[Images, _Future]


class ThreadScorer:
    """Scores images in a thread of its own.

    Args:
        suite: the metrics.
        references: uint8 reference HW3 of each pair.
        contents: uint8 content image HW3 of each pair, of the reference's size.
    """

    def __init__(self, suite: MetricSuite, references: Images, contents: Images):
        self._suite, self._goals = suite, _Goals(references, contents)
        self._queue: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def score(self, images: Images) -> _Future:
        """Request the scores of images; see `Scorer`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        future = _Future()
        self._queue.put((images, future))
        return future

    def start(self) -> None:
        """Do nothing: the thread begins a request as soon as it can."""

    def _work(self) -> None:
        torch.set_num_threads(1)  # of this thread only; the lanes use the others
        while True:
            requests = [self._queue.get()]
            while not self._queue.empty():
                requests.append(self._queue.get())
            try:
                self._finish(requests)
            except Exception:  # one of the requests is faulty
                for request in requests:
                    self._finish_alone(request)

    def _finish(self, requests: Sequence[_Request]) -> None:
        """Score the images of several requests in one call."""
        scores = self._suite.score_all(*self._goals.of_all([images for images, _ in requests]))
        start = 0
        for images, future in requests:
            future.set_result(scores[start : start + len(images)])
            start += len(images)

    def _finish_alone(self, request: _Request) -> None:
        try:
            self._finish([request])
        except Exception as error:  # the caller of `result` receives any error
            request[1].set_exception(error)


class SideStream:
    """A second CUDA stream: its work runs beside the lanes, and the host does not wait for it.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def run(self, work: Callable[[], Tensor], inputs: Images) -> tuple[Tensor, torch.cuda.Event]:
        """Queue work and the copy of its result to the host.

        Args:
            work: queues operations, and returns a tensor on the device.
            inputs: images that ``work`` reads. Their memory is not reused before it has.

        Returns:
            The result on the CPU, and the event after which it can be read.
        """
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            result = work()
            on_host = torch.empty_like(result, device="cpu", pin_memory=True)
            on_host.copy_(result, non_blocking=True)
            event = self._stream.record_event()
        for image in inputs:
            if isinstance(image, Tensor) and image.is_cuda:
                image.record_stream(self._stream)
        return on_host, event

    def free_memory(self) -> None:
        """Return unused memory to the device, for another attempt."""
        release_memory()


class _StreamResult:
    """Scores that a stream computes.

    Attributes:
        images: the images to score; none once the request is queued on the device.
    """

    def __init__(self, images: Images):
        self.images = images
        self._begun: tuple[Tensor, torch.cuda.Event, Sequence[str]] | None = None
        self._otherwise: Future[Sequence[Scores]] | None = None

    def begin(self, score_NM: Tensor, event: torch.cuda.Event, names: Sequence[str]) -> None:
        """Take the scores on the CPU, which can be read after the event."""
        self._begun, self.images = (score_NM, event, names), ()

    def instead(self, future: Future[Sequence[Scores]]) -> None:
        """Take scores, or an error, from elsewhere."""
        self._otherwise, self.images = future, ()

    def done(self) -> bool:
        if self._otherwise is not None:
            return self._otherwise.done()
        return self._begun is not None and bool(self._begun[1].query())  # type: ignore[no-untyped-call]

    def wait(self, timeout_s: float) -> None:
        if self._otherwise is not None:
            wait_for([self._otherwise], timeout_s)
        elif self._begun is not None:
            self._begun[1].synchronize()

    def result(self) -> Sequence[Scores]:
        if self._otherwise is not None:
            return self._otherwise.result()
        assert self._begun is not None
        score_NM, event, names = self._begun
        event.synchronize()
        return [dict(zip(names, scores_M, strict=True)) for scores_M in score_NM.tolist()]


class StreamScorer:
    """Scores images on a second stream of their GPU; the host only queues the work.

    The engine's thread queues it, not a thread of its own: a recording of a CUDA graph fails while
    another thread allocates memory, and the switches of TF32 belong to the whole process.

    If the images do not fit into the GPU's memory, they are scored request by request, and then on
    the CPU. This has not run on a GPU yet.

    Args:
        suite_on: makes the suite of metrics.
        references: uint8 reference HW3 of each pair.
        contents: uint8 content image HW3 of each pair, of the reference's size.
        stream: where to compute.
    """

    def __init__(self, suite_on: SuiteOn, references: Images, contents: Images, stream: SideStream):
        self._suite_on, self._references, self._contents = suite_on, references, contents
        self._goals, self._stream = _Goals(references, contents), stream
        self._suite = suite_on(stream.device)
        self._on_cpu: ThreadScorer | None = None
        self._waiting: list[_StreamResult] = []

    def score(self, images: Images) -> _StreamResult:
        """Request the scores of images; see `Scorer`. They begin with the next `start`."""
        self._waiting.append(_StreamResult(images))
        return self._waiting[-1]

    def start(self) -> None:
        """Queue all waiting requests together; an error concerns only its own request."""
        waiting, self._waiting = self._waiting, []
        if not waiting or self._begin(waiting) is None:
            return
        for request in waiting:
            # Outside of the handler, where the failed attempt's memory is no longer in use.
            self._stream.free_memory()
            error = self._begin([request])
            if error is not None and is_out_of_memory(error):
                request.instead(self._scored_on_cpu(request.images))
            elif error is not None:
                request.instead(_failed(error))

    def _begin(self, requests: Sequence[_StreamResult]) -> Exception | None:
        """Queue requests together; return the error if that fails."""
        images, references, contents = self._goals.of_all([r.images for r in requests])
        try:
            score_NM, event = self._stream.run(
                lambda: self._suite.measure(images, references, contents), images
            )
        except Exception as error:  # whatever it is, it must not end the engine's other trials
            # A traceback keeps the failed attempt's memory in use.
            return error.with_traceback(None) if is_out_of_memory(error) else error
        names = self._suite.names()
        start = 0
        for request in requests:
            end = start + len(request.images)
            request.begin(score_NM[start:end], event, names)
            start = end
        return None

    def _scored_on_cpu(self, images: Images) -> Future[Sequence[Scores]]:
        if self._on_cpu is None:
            suite = self._suite_on(torch.device("cpu"))
            self._on_cpu = ThreadScorer(suite, self._references, self._contents)
        return self._on_cpu.score([torch.as_tensor(image).cpu() for image in images])


def _failed(error: Exception) -> Future[Sequence[Scores]]:
    future: Future[Sequence[Scores]] = Future()
    future.set_exception(error)
    return future
