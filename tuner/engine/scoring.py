"""Scorer: scores images in a thread of its own while the engine advances lanes."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import torch

from nst_core.lanes.device import release_memory
from nst_core.metrics.lpips_dists import Images
from nst_core.metrics.suite import MetricSuite
from tuner.study.records import Scores


class Scorer:
    """Scores images against the references of a job's pairs, in a background thread.

    Args:
        suite: the metrics.
        references: uint8 reference HW3 of each pair.
        contents: uint8 content image HW3 of each pair, of the reference's size.
    """

    def __init__(self, suite: MetricSuite, references: Images, contents: Images):
        self._suite, self._references, self._contents = suite, references, contents
        self._queue: queue.SimpleQueue[tuple[Images, Future[Sequence[Scores]]]] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None

    def score(self, images: Images) -> Future[Sequence[Scores]]:
        """Return a future of the scores of each image.

        Args:
            images: uint8 images HW3 of the first pairs, one per pair.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        future: Future[Sequence[Scores]] = Future()
        self._queue.put((images, future))
        return future

    def _work(self) -> None:
        torch.set_num_threads(1)  # of this thread only; the lanes use the others
        while True:
            requests = [self._queue.get()]
            while not self._queue.empty():
                requests.append(self._queue.get())
            if not self._answer_together(requests):
                release_memory()  # outside of the handler, which keeps the tensors of the error
                for images, future in requests:
                    self._score_one_by_one(images, future)

    def _answer_together(self, requests: Sequence[tuple[Images, Future[Sequence[Scores]]]]) -> bool:
        """Score several requests in one call; return whether that worked."""
        try:
            scores = self._score_together([images for images, _ in requests])
        except Exception:  # one request may be faulty, or all together need too much memory
            return False
        for (_, future), request_scores in zip(requests, scores, strict=True):
            future.set_result(request_scores)
        return True

    def _score_together(self, requests: Sequence[Images]) -> list[Sequence[Scores]]:
        """Return the scores of each request's images, computed in one call."""
        scores = self._suite.score_all(
            [image for images in requests for image in images],
            [reference for images in requests for reference in self._references[: len(images)]],
            [content for images in requests for content in self._contents[: len(images)]],
        )
        ends = list(itertools.accumulate(len(images) for images in requests))
        return [scores[end - len(images) : end] for images, end in zip(requests, ends, strict=True)]

    def _score_one_by_one(self, images: Images, future: Future[Sequence[Scores]]) -> None:
        """Score image by image, which needs the least memory; an error concerns this request."""
        triples = zip(images, self._references, self._contents, strict=False)
        try:
            future.set_result([self._suite.score(*triple) for triple in triples])
        except Exception as error:  # the caller of `result` receives any error
            future.set_exception(error)
