"""Commands to a running search: a mailbox in the run directory, and their record in the study.

A command is a file in the mailbox until the search has carried it out. The search records it in the
study together with its effect, and then deletes the file; a file whose command is recorded already
is only deleted. So a command is carried out exactly once, whenever a process is killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from nst_core.errors import RunError
from nst_core.files import read_limited, write_atomic
from tuner.study.lock import user_of
from tuner.study.run_files import MAILBOX

CommandName = Literal["pause", "resume", "stop-trial", "try", "more-like", "set"]
#: Names of all commands.
NAMES: tuple[str, ...] = get_args(CommandName)

#: Note of a study: the commands that were carried out or refused, in order.
COMMANDS = "commands"
#: Largest file of the mailbox that is read, in bytes.
_MAX_BYTES = 100_000
#: Commands of nst-tuner that run a search, and so carry out commands.
_SEARCHING = ("launch", "resume")
#: Seconds between two looks whether a command was carried out.
_LOOK_EVERY_S = 0.1


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command to a running search.

    Attributes:
        name: what to do.
        trial: number of the trial to stop, or to try similar configurations of.
        params: parameters to try; the sampler draws the others.
        count: number of similar configurations to try.
        changes: assignments ``key.sub=value`` to the job.
    """

    name: CommandName
    trial: int | None = None
    params: dict[str, int | float | str] = {}
    count: int = 1
    changes: list[str] = []

    @property
    def trials(self) -> int:
        """Number of trials that the command asks for."""
        return {"try": 1, "more-like": self.count}.get(self.name, 0)

    def __str__(self) -> str:
        params = [f"{name}={value}" for name, value in self.params.items()]
        trial = [] if self.trial is None else [str(self.trial)]
        count = [f"({self.count} trials)"] if self.name == "more-like" else []
        return " ".join([self.name, *trial, *params, *self.changes, *count])


class CommandRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A command that the search has carried out or refused.

    Attributes:
        id: identifies the command.
        command: the command.
        at: when it was carried out, in seconds since 1970.
        refused: why it was not carried out, or None.
    """

    id: str
    command: Command
    at: float
    refused: str | None = None

    def __str__(self) -> str:
        return f"{self.command}: refused, {self.refused}" if self.refused else str(self.command)


def stored_commands(notes: Mapping[str, Any]) -> list[CommandRecord]:
    """Return the commands in the notes of a study, the oldest first."""
    return msgspec.convert(notes.get(COMMANDS, []), list[CommandRecord])


def plain(records: list[CommandRecord]) -> Any:
    """Return commands as plain values, for the notes of a study."""
    return msgspec.to_builtins(records)


def is_paused(records: list[CommandRecord]) -> bool:
    """Return whether the last command of its kind was to pause the run."""
    names = [r.command.name for r in records if not r.refused]
    return next((n == "pause" for n in reversed(names) if n in ("pause", "resume")), False)


def is_steered(folder: Path) -> bool:
    """Return whether a search is running in a run directory, which carries out commands."""
    user = user_of(folder)
    return user is not None and user.command in _SEARCHING


def send(folder: Path, command: Command) -> str:
    """Put a command into the mailbox of a run and return its id.

    Raises:
        RunError: no search is running in this run directory, or the folder cannot be written.
    """
    if not is_steered(folder):
        user = user_of(folder)
        now = f"only {user} is working on it" if user else "no search is working on it"
        raise RunError(
            f"{folder}: not running: {now}; `nst-tuner resume {folder}` continues the run"
        )
    # Ids sort by time; the random end keeps two commands of the same moment apart.
    command_id = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    path = _file(folder, command_id)
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, msgspec.json.encode(command))
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); expected a run directory that this"
            " user may write to"
        ) from None
    return command_id


def wait_for(folder: Path, command_id: str, within_s: float) -> CommandRecord | None:
    """Return the record of a command when the search has carried it out; None if it has not yet.

    Args:
        folder: the run directory.
        command_id: as `send` returned it.
        within_s: seconds to wait.
    """
    from tuner.study.study import load_records  # loads Optuna, which `send` does not need

    until_s = time.monotonic() + within_s
    while _file(folder, command_id).exists():
        if time.monotonic() > until_s:
            return None
        time.sleep(_LOOK_EVERY_S)
    _, notes = load_records(folder)
    return next((r for r in stored_commands(notes) if r.id == command_id), None)


def received(folder: Path) -> list[tuple[str, Command | None]]:
    """Return (id, command) of the mailbox, the oldest first; None for a file that is no command."""
    try:
        names = sorted(os.listdir(folder / MAILBOX))  # noqa: PTH208  # called several times a second
    except OSError:  # no command was ever given
        return []
    return [
        (name.removesuffix(".json"), _read(folder / MAILBOX / name))
        for name in names
        if name.endswith(".json") and not name.startswith(".")
    ]


def _read(path: Path) -> Command | None:
    try:
        return msgspec.json.decode(read_limited(path, _MAX_BYTES), type=Command)
    except (msgspec.MsgspecError, ValueError, OSError):
        return None


def delete(folder: Path, command_id: str) -> None:
    """Remove a command from the mailbox."""
    with contextlib.suppress(FileNotFoundError):
        _file(folder, command_id).unlink()


def _file(folder: Path, command_id: str) -> Path:
    return folder / MAILBOX / f"{command_id}.json"
