"""A stylizer outside of a run: one picture for `nst-tuner stylize`, and a check before a launch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nst_core.errors import WorkError
from nst_core.stylizer_config import StylizerConfig
from tuner.stylizers.messages import Message
from tuner.stylizers.process import WorkerProcess

#: Seconds between two looks at the deadline and at Ctrl-C.
WAIT_S = 0.1


def stylized_once(
    config: StylizerConfig,
    content: np.ndarray,
    styles: Sequence[np.ndarray],
    *,
    device: str,
    on_step: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """Return the picture of a configuration, through the same boundary as in a run.

    Args:
        config: the stylizer and its parameters.
        content: content image of the result's size, uint8 [H, W, 3].
        styles: style images, uint8 [H, W, 3] each.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        on_step: called with the present step.

    Raises:
        WorkError: the stylizer failed or took too long; the message says why.
    """
    worker = WorkerProcess(config.stylizer, max_bytes=content.size)
    opening = {"do": "open", "pair": 0, "size_px": max(content.shape[:2]), "device": device}
    advancing: Mapping[str, Any] = {
        **{"do": "advance", "trial": 0, "pair": 0, "fresh": True},
        **{"params": dict(config.params), "seed": config.seed, "until": config.steps},
    }
    try:
        _answer(worker, config, on_step)
        worker.request(opening, [content, *styles])
        _answer(worker, config, on_step)
        worker.request(advancing)
        return _answer(worker, config, on_step).pictures[0]
    finally:
        worker.end()


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
