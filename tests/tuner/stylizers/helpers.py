"""Helpers for tests of stylizers: a worker that does one thing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tuner.stylizers.messages import Message
from tuner.stylizers.process import WorkerProcess

HERE = Path(__file__).parent
AWKWARD = str(HERE / "awkward.sh")
STYLIZERS = HERE / "python_stylizers.py"

CONTENT = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)


def python(name: str) -> dict[str, Any]:
    """Return the section of a stylizer of `python_stylizers`."""
    return {"path": f"{STYLIZERS}:{name}"}


def command(*words: str) -> dict[str, Any]:
    """Return the section of a stylizer that is a command."""
    return {"command": list(words)}


def ask(
    worker: WorkerProcess, params: Mapping[str, Any], until: int = 1, fresh: bool = True
) -> Message:
    """Open a pair and advance a trial on it; return the answer."""
    first = worker.answer(60)
    assert first is not None
    if "failure" in first.content:
        return first
    worker.request({"do": "open", "pair": 0, "size_px": 60, "device": "cpu"}, [CONTENT, CONTENT])
    worker.answer(60)
    request = {"do": "advance", "trial": 1, "pair": 0, "params": dict(params), "seed": 0}
    worker.request({**request, "fresh": fresh, "until": until})
    while True:
        answer = worker.answer(60)
        assert answer is not None
        if "step" not in answer.content:
            return answer


def answer_of(stylizer: Mapping[str, Any], params: Mapping[str, Any], until: int = 1) -> Message:
    """Return what a new worker says to a request, and end the worker."""
    worker = WorkerProcess(stylizer, max_bytes=CONTENT.size)
    try:
        return ask(worker, params, until)
    finally:
        worker.end()
        assert not worker.folder.exists()


def failure_of(stylizer: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """Return why a new worker fails."""
    return str(answer_of(stylizer, params).content["failure"])


def sleepers() -> int:
    """Return the number of processes that `awkward.sh` has left behind."""
    found = 0
    for process in psutil.process_iter(["cmdline"]):
        found += process.info["cmdline"] == ["sleep", "1000"]
    return found
