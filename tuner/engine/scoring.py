"""Scorer: images against references, beside the engine's own work."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import torch

from nst_core.metrics.lpips_dists import Images
from nst_core.metrics.suite import MetricSuite
from tuner.study.records import Scores


class Scorer:
    """Scores images in a thread of its own, so that lanes advance meanwhile.

    Args:
        suite: what scores.
        references: uint8 images, one for each pair of the job.
        contents: the untouched contents, likewise, of the same sizes.
    """

    def __init__(self, suite: MetricSuite, references: Images, contents: Images):
        self._suite, self._references, self._contents = suite, references, contents
        self._jobs: queue.SimpleQueue[tuple[Images, Future[Sequence[Scores]]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def score(self, images: Images) -> Future[Sequence[Scores]]:
        """Scores of images of the first pairs, one for each, as soon as there is time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        future: Future[Sequence[Scores]] = Future()
        self._jobs.put((images, future))
        return future

    def _work(self) -> None:
        torch.set_num_threads(1)  # of this thread; the others are the lanes'
        while True:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            try:
                scores = self._scored([images for images, _ in jobs])
            except Exception:  # of somebody's images, or of so many at a time
                with contextlib.suppress(RuntimeError):  # of a device that is no more
                    torch.cuda.empty_cache()
                for images, future in jobs:
                    self._answer_alone(images, future)
                continue
            for (_, future), found in zip(jobs, scores, strict=True):
                future.set_result(found)

    def _scored(self, jobs: Sequence[Images]) -> list[Sequence[Scores]]:
        """Scores of several jobs' images, in one go."""
        scores = self._suite.score_all(
            [image for images in jobs for image in images],
            [ref for images in jobs for ref in self._references[: len(images)]],
            [content for images in jobs for content in self._contents[: len(images)]],
        )
        ends = list(itertools.accumulate(len(images) for images in jobs))
        return [scores[end - len(images) : end] for images, end in zip(jobs, ends, strict=True)]

    def _answer_alone(self, images: Images, future: Future[Sequence[Scores]]) -> None:
        """Score image by image, which needs least; what still goes wrong is this job's alone."""
        goals = zip(images, self._references, self._contents, strict=False)
        try:
            future.set_result([self._suite.score(*three) for three in goals])
        except Exception as error:  # whoever waits must hear of it, whatever it is
            future.set_exception(error)
