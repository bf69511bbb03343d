"""Scorer: images against references, beside the engine's own work."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import torch

from nst_core.metrics import Judge
from tuner.evaluate import Scores

Images = Sequence[np.ndarray]


class Scorer:
    """Scores images in a thread of its own, so that lanes advance meanwhile.

    Args:
        judge: what scores.
        references: uint8 images, one for each pair of the job.
        contents: the untouched contents, likewise, of the same sizes.
    """

    def __init__(self, judge: Judge, references: Images, contents: Images):
        self._judge, self._references, self._contents = judge, references, contents
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
                scores = self._judge.score_all(
                    [image for images, _ in jobs for image in images],
                    [ref for images, _ in jobs for ref in self._references[: len(images)]],
                    [content for images, _ in jobs for content in self._contents[: len(images)]],
                )
            except Exception as error:  # those who wait must hear of it, whatever it is
                for _, future in jobs:
                    future.set_exception(error)
                continue
            for images, future in jobs:
                future.set_result(scores[: len(images)])
                scores = scores[len(images) :]
