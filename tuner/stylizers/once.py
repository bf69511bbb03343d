"""A stylizer outside of a run: pictures for `nst-tuner stylize`, and a check before a launch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from nst_core.errors import WorkError
from nst_core.images.tensors import from_uint8, to_uint8
from nst_core.losses.inputs import LossInputs
from nst_core.stylizer_config import StylizerConfig
from tuner.stylizers.messages import Message
from tuner.stylizers.process import WorkerProcess

#: Seconds between two looks at the deadline and at Ctrl-C.
WAIT_S = 0.1


class PictureStylizer:
    """Stylizes pictures one after another through the same boundary as in a run.

    A context manager. One worker process makes all pictures, and a new one replaces it after a
    failure.

    Args:
        config: the stylizer and its parameters.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """

    def __init__(self, config: StylizerConfig, *, device: str):
        self._config, self._device = config, device
        self._worker: WorkerProcess | None = None

    def __enter__(self) -> PictureStylizer:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(
        self,
        content: np.ndarray,
        styles: Sequence[np.ndarray],
        on_step: Callable[[int], None] = lambda _: None,
    ) -> np.ndarray:
        """Return the result of one picture.

        Args:
            content: content image of the result's size, uint8 [H, W, 3]; its longer side is the
                size of the configuration.
            styles: style images, uint8 [H, W, 3] each.
            on_step: called with the present step.

        Raises:
            WorkError: the stylizer failed or took too long; the message says why.
        """
        config = self._config
        opening = {"do": "open", "pair": 0, "size_px": config.size_px, "device": self._device}
        advancing: Mapping[str, Any] = {
            **{"do": "advance", "trial": 0, "pair": 0, "fresh": True},
            **{"params": dict(config.params), "seed": config.seed, "until": config.steps},
        }
        try:
            worker = self._worker or self._started(on_step)
            worker.request(opening, [content, *styles])
            _answer(worker, config, on_step)
            worker.request(advancing)
            return _answer(worker, config, on_step).pictures[0]
        except BaseException:
            self._end()
            raise

    def image(
        self,
        content_3HW: Tensor,
        styles: Sequence[Tensor],
        on_step: Callable[[int], None] = lambda _: None,
    ) -> Tensor:
        """Return the result of a picture of any size, image_3HW in [0, 1].

        Args:
            content_3HW: content image in [0, 1].
            styles: style images, each style_3HW in [0, 1].
            on_step: called with the present step.

        Raises:
            WorkError: the stylizer failed or took too long; the message says why.
        """
        weighted = [(style_3HW, 1.0) for style_3HW in styles]
        inputs = LossInputs.at_size(content_3HW, weighted, self._config.size_px)
        style_arrays = [to_uint8(style_3HW) for style_3HW, _ in inputs.styles]
        return from_uint8(self(to_uint8(inputs.content_3HW), style_arrays, on_step))

    def _started(self, on_step: Callable[[int], None]) -> WorkerProcess:
        """Start and return a worker that has loaded the stylizer."""
        self._worker = WorkerProcess(self._config.stylizer, max_bytes=3 * self._config.size_px**2)
        _answer(self._worker, self._config, on_step)
        return self._worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None


def _answer(
    worker: WorkerProcess, config: StylizerConfig, on_step: Callable[[int], None]
) -> Message:
    """Return the answer to a request."""
    deadline_s = float(config.stylizer.get("deadline_s", 600.0))
    for _ in range(int(deadline_s / WAIT_S) + 1):
        answer = worker.answer(WAIT_S)
        if answer is None:
            continue
        if "failure" in answer.content:
            raise WorkError(f"the stylizer failed: {answer.content['failure']}")
        if "step" not in answer.content:
            return answer
        on_step(int(answer.content["step"]))
    raise WorkError(f"the stylizer took longer than {deadline_s:g} s (`stylizer.deadline_s`)")


def check_loads(stylizer: Mapping[str, Any], *, threads: int | None = None) -> str | None:
    """Load a stylizer once in a worker; return what is wrong, or None."""
    worker = WorkerProcess(stylizer, max_bytes=0, threads=threads)
    try:
        deadline_s = float(stylizer.get("deadline_s", 600.0))
        answer = worker.answer(deadline_s)
        if answer is None:
            return f"it did not load within {deadline_s:g} s"
        failure = answer.content.get("failure")
        return None if failure is None else str(failure)
    finally:
        worker.end()
