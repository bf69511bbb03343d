"""Trust: code that a file names is run only after a person has agreed to it, once.

A job, a run directory or a preset may come from anybody, and a stylizer is code. What a person has
agreed to is remembered in the person's own folder, never beside the file that names the code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nst_core.errors import InputError
from nst_core.files import read_limited, write_atomic

if TYPE_CHECKING:
    from tuner.job.spec import JobSpec

#: Largest file of remembered agreements, in bytes.
MAX_BYTES = 2**20
#: Keys of `stylizer` that decide what runs and what it may do.
_KEYS = ("python", "path", "command", "writable", "env")


def names_stylizer(assignments: Sequence[str]) -> bool:
    """Return whether ``--set`` options name the stylizer: then the person has chosen its code."""
    keys = {assignment.partition("=")[0].strip() for assignment in assignments}
    return bool(keys & {"stylizer", *(f"stylizer.{kind}" for kind in _KEYS[:3])})


def require_trust(
    stylizer: Mapping[str, Any],
    source: str,
    *,
    trusted: bool,
    ask: Callable[[str], bool] | None = None,
) -> None:
    """Return if a person trusts a stylizer, and remember that.

    Args:
        stylizer: `StylizerSpec.to_plain`, with absolute paths.
        source: the file that names it.
        trusted: whether the person's own command line says so.
        ask: asks the person, with a sentence about the code; None: on the terminal if there is one.

    Raises:
        InputError: nobody has agreed.
    """
    digest = _digest(stylizer)
    known = _remembered()
    if digest in known:
        return
    if not trusted:
        if ask is None and sys.stdin.isatty() and sys.stderr.isatty():
            ask = _ask_on_terminal
        what = f"{source} runs code of its own: {code_of(stylizer)}"
        if ask is None or not ask(what):
            raise InputError(
                f"{what}; if you trust it, add --trust. You are asked only once for this code"
            )
    _remember([*known, digest])


def require_trust_of(job: JobSpec, file: Path, *, trusted: bool) -> None:
    """Return if a person trusts the stylizer of a run, or if it has none.

    Args:
        job: the job of the run.
        file: its job file.
        trusted: whether the person's own command line says so.

    Raises:
        InputError: nobody has agreed, or there is nothing to agree to.
    """
    if job.stylizer is not None:
        require_trust(job.stylizer.to_plain(), str(file), trusted=trusted)
    elif trusted:
        raise InputError("--trust: the run has no `stylizer`, so there is no code to trust")


def code_of(stylizer: Mapping[str, Any]) -> str:
    """Return what a stylizer runs, in one line."""
    if "command" in stylizer:
        words = [
            word
            for element in stylizer["command"]
            for word in ([element] if isinstance(element, str) else element)
        ]
        return f"the command {shlex.join(words)}"
    if "path" in stylizer:
        return f"the Python file {stylizer['path']}"
    return f"the Python module {stylizer['python']}"


def _digest(stylizer: Mapping[str, Any]) -> str:
    content = {key: stylizer[key] for key in _KEYS if stylizer.get(key)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _ask_on_terminal(what: str) -> bool:
    sys.stderr.write(f"{what}\nA stylizer can do whatever you can do. Run it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _file() -> Path | None:
    """Return the file of the agreements; None for a user without a home folder."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "nst-tuner" / "trusted.json"
    try:
        return Path.home() / ".local" / "state" / "nst-tuner" / "trusted.json"
    except RuntimeError:
        return None


def _remembered() -> list[str]:
    file = _file()
    if file is None:
        return []
    try:
        content = json.loads(read_limited(file, MAX_BYTES))
    except (OSError, ValueError):
        return []
    return [str(digest) for digest in content] if isinstance(content, list) else []


def _remember(digests: Sequence[str]) -> None:
    if (file := _file()) is None:
        return
    with suppress(OSError):  # then the person is asked again
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(digests).encode())
