"""An engine that fails in the way that a test asks for.

Like `tuner.cluster.engine_actor`, this module must not load torch.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import ActorUnavailableError, RayError

from tuner.cluster.engine_loss import loss_reason

#: Seconds for Ray to start a process or to notice that one is gone, on a busy machine.
TIMEOUT_S = 120

#: torch's message has several lines, and its last line is advice.
NO_DRIVER = (
    "The NVIDIA driver on your system is too old (found version 12040)."
    "\nPlease update your GPU driver\n  by downloading a new version"
)


class TwoArgumentsError(Exception):
    """An exception that pickle writes and cannot read."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


def _raise(error: Exception) -> None:
    raise error


def _chain() -> None:
    try:
        int("x")
    except ValueError as error:
        raise OSError("libcudnn.so.9: cannot open shared object file") from error


#: Name -> what ends the process, or its current call.
WAYS: dict[str, Callable[[], object]] = {
    "driver": lambda: _raise(RuntimeError(NO_DRIVER)),
    "chain": _chain,
    "unreadable": lambda: _raise(TwoArgumentsError("device is lost", 7)),
    "no message": lambda: _raise(RuntimeError()),
    "exit": lambda: os._exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "crash": lambda: ctypes.string_at(0),
}


class DyingEngine:
    """An engine that fails in its constructor, or when `fail` is called.

    Args:
        way: key of `WAYS`; None: start normally.
    """

    def __init__(self, way: str | None = None):
        if way is not None:
            WAYS[way]()

    async def ready(self) -> int:
        """Return the id of the process."""
        return os.getpid()

    async def fail(self, way: str) -> None:
        """Fail in this way."""
        WAYS[way]()


def dying_engine(way: str | None = None, **options: Any) -> Any:
    """Start a `DyingEngine` as an actor, with these options of Ray."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return ray.remote(DyingEngine).options(num_cpus=0, **options).remote(way)


def reason_after_death(engine: Any) -> str:
    """Return the reason once Ray knows that an engine is dead."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            ray.get(engine.ready.remote(), timeout=TIMEOUT_S)
        except ActorUnavailableError:
            pass
        except RayError as error:
            return loss_reason(error)
        time.sleep(0.1)
    raise AssertionError("the engine does not die")
