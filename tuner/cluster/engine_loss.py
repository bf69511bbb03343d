"""Engine loss: one plain sentence about why an engine died, from the error that Ray raised.

Ray's own texts are several lines long, and their last line is seldom the cause. For a process that
ended without a word, Ray guesses that memory ran out, even if the process has crashed. Texts of Ray
2.60; `tests/tuner/cluster/test_engine_loss.py` provokes each of them.
"""

from __future__ import annotations

import re

from ray.exceptions import (
    ActorUnschedulableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RuntimeEnvSetupError,
)

#: Longest quotation of another error, in characters.
MAX_QUOTE = 300

_CREATION_ERROR = "error raised in its creation task"
#: A color of a terminal, which Ray puts into its texts.
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
#: A line ``  File "…", line 1, in …`` of a traceback.
_FRAME = re.compile(r'^ +File ".*", line \d+', re.MULTILINE)
_EXIT_CODE = re.compile(r"[Ee]xit code:? (-?\d+)")
_PROCESS = re.compile(r"^\tpid: (\d+)$", re.MULTILINE)

_OUT_OF_MEMORY = (
    "was stopped by Ray, because the memory of its machine ran low; fewer `resources.lanes` or a"
    " smaller `size_px` may help"
)
_NODE_LOST = "was lost with its machine"
_PREEMPTED = "was lost with its machine, which the cloud took back"
#: Type of an error -> what happened, after the engine's name.
_ERRORS: dict[type[RayError], str] = {
    ActorUnschedulableError: (
        "could not start: its machine is gone, or does not have what the engine needs"
    ),
    OutOfMemoryError: _OUT_OF_MEMORY,
    NodeDiedError: _NODE_LOST,
}
#: Part of Ray's text about a dead process -> the same.
_DEATHS = {
    "NODE_OUT_OF_MEMORY": _OUT_OF_MEMORY,
    "running low on memory": _OUT_OF_MEMORY,
    "AUTOSCALER_DRAIN_PREEMPTED": _PREEMPTED,
    "because its node has died": _NODE_LOST,
    "killed by `ray.kill`": "was stopped with `ray.kill`",
    "receives a SIGTERM": "was stopped by the signal SIGTERM",
}


def loss_reason(error: Exception) -> str:
    """Return what happened to an engine, as the rest of a sentence that begins with its name.

    Args:
        error: what Ray raised for a call of the engine, or what the engine itself raised.
    """
    text = _COLOR.sub("", str(error))
    if isinstance(error, RuntimeEnvSetupError) or _CREATION_ERROR in text:
        return f"could not start: {_raised(text.rpartition(_CREATION_ERROR)[2])}"
    for kind, reason in _ERRORS.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, RayActorError):
        return _death(error, text)
    cause = getattr(error, "cause", None)
    raised_by_ray = cause is None and isinstance(error, RayError)
    quote = _raised(text) if raised_by_ray else _quote(str(cause or error).strip().splitlines())
    return f"failed: {quote}"


def _death(error: RayActorError, text: str) -> str:
    """Return why a process is gone that raised nothing."""
    if error.preempted:
        return _PREEMPTED
    for part, reason in _DEATHS.items():
        if part in text:
            return reason
    process = f" {found[1]}" if (found := _PROCESS.search(text)) else ""
    when = " while it started" if "never ran" in text else ""
    if (code := _EXIT_CODE.search(text)) and code[1] != "0":
        return f"died{when}: its process{process} ended with exit code {code[1]}"
    return (
        f"died{when}: its process{process} crashed or was killed and left no error; `dmesg` on its"
        " machine says if memory ran out"
    )


def _raised(text: str) -> str:
    """Return type and message of the last exception in a traceback, as one line.

    The message may have several lines: those of CUDA end with advice that hides the cause. So this
    is the first line after the last frame that is not indented.
    """
    *_, last = _FRAME.split(text)
    lines = [line for line in last.splitlines() if line.strip()]
    return _quote([line for line in lines[1:] if not line.startswith(" ")] or lines)


def _quote(lines: list[str]) -> str:
    """Return the first line, cut to `MAX_QUOTE` characters."""
    line = lines[0].strip() if lines else "no message"
    return line if len(line) <= MAX_QUOTE else f"{line[: MAX_QUOTE - 1]}…"
