"""Commands to a running search in words: how people write them, and what they get to read."""

from __future__ import annotations

from collections.abc import Sequence

from nst_core.errors import InputError, near_miss
from tuner.job.yaml_file import parse_yaml
from tuner.study.commands import Command, CommandRecord

#: Number of trials that `more-like` runs unless the person says otherwise.
ALIKE = 6
#: Command -> the arguments that it takes, for errors.
USAGE = {
    "pause": "no arguments",
    "resume": "no arguments",
    "stop-trial": "the number of a trial",
    "try": "KEY=VALUE of one or more parameters",
    "more-like": "the number of a trial, and optionally --count",
    "set": "KEY=VALUE of one or more keys of the job, such as budget.minutes=60",
}
#: Command -> what has happened when the search has carried it out.
DONE = {
    "pause": "trials pause at their next rung; `ctl DIR resume` lets them go on",
    "resume": "the run goes on",
    "stop-trial": "the trial ends at its next report",
    "try": "the next trial has these parameters",
    "more-like": "the next trials are near it",
    "set": "changed, also in the run's job.yaml",
}


def parse(name: str, arguments: Sequence[str], count: int | None = None) -> Command:
    """Return a command from the words of the command line.

    Args:
        name: the command.
        arguments: its arguments.
        count: value of ``--count``.

    Raises:
        InputError: there is no such command, or its arguments are others.
    """
    if name not in USAGE:
        raise InputError(f"`{name}`: no such command{near_miss(name, USAGE)} ({', '.join(USAGE)})")
    if count is not None and name != "more-like":
        raise InputError(f"--count: belongs to `more-like`, not to `{name}`; leave it out")
    wrong = InputError(f"{name} {' '.join(arguments)}".strip() + f": expected {USAGE[name]}")
    if name in ("pause", "resume"):
        if arguments:
            raise wrong
        return Command(name="pause" if name == "pause" else "resume")
    if name in ("stop-trial", "more-like"):
        if len(arguments) != 1 or not arguments[0].isdecimal():
            raise wrong
        if name == "stop-trial":
            return Command(name="stop-trial", trial=int(arguments[0]))
        return Command(name="more-like", trial=int(arguments[0]), count=count or ALIKE)
    if not arguments or not all("=" in argument for argument in arguments):
        raise wrong
    if name == "set":
        return Command(name="set", changes=list(arguments))
    return Command(name="try", params=_params(arguments))


def _params(assignments: Sequence[str]) -> dict[str, int | float | str]:
    """Return the parameters of ``KEY=VALUE`` arguments, whose values are read as YAML."""
    params: dict[str, int | float | str] = {}
    for assignment in assignments:
        key, _, text = assignment.partition("=")
        value = parse_yaml(text, f"try {assignment}").data
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InputError(f"try {assignment}: expected a number or a word as the value")
        params[key.strip()] = value
    return params


def outcome_json(
    command_id: str, command: Command, record: CommandRecord | None
) -> dict[str, object]:
    """Return what `nst-tuner ctl --json` prints.

    Args:
        command_id: identifies the command.
        command: the command.
        record: what the search has done; None if it has not carried out the command yet.
    """
    state = "sent" if record is None else "refused" if record.refused else "done"
    reason = record.refused if record else None
    return {"id": command_id, "command": str(command), "state": state, "reason": reason}
