"""The command reference, from the command line's own help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from tuner.cli.main import app

_INTRODUCTION = """\
# Commands

<!-- Written by `python -m docs.generate` from the help of each command; do not edit. -->

`nst-tuner COMMAND --help` prints the same text in a terminal. Results go to standard output; progress
and errors go to standard error. `nst-tuner --install-completion` lets your shell complete commands and
options.

| exit code | meaning |
| --- | --- |
| 0 | the command did its work |
| 1 | the work failed |
| 2 | the input was wrong |
| 130, 143, 129 | Ctrl-C, SIGTERM or SIGHUP ended the command; continue a run with `nst-tuner resume DIR` |
"""


def to_markdown() -> str:
    """Return the page: one section for each command."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("nst-tuner", [], resilient_parsing=True)
    return "\n".join([_INTRODUCTION, *_sections(group, context)])


def _sections(group: Any, context: Any) -> Iterator[str]:
    for name, command in group.commands.items():
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        yield _section(command, inner)
        if hasattr(command, "commands"):
            yield from _sections(command, inner)


def _section(command: Any, context: Any) -> str:
    usage = command.get_usage(context).removeprefix("Usage: ")
    lines = [f"## {context.command_path}", "", _plain(command.help), "", f"```text\n{usage}\n```"]
    rows = [
        f"| `{_cell(record[0])}` | {_cell(_plain(record[1]).replace('<', '&lt;'))} |"
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) and "--help" not in parameter.opts
    ]
    if rows:
        lines += ["", "| argument or option | meaning |", "| --- | --- |", *rows]
    if command.epilog:
        example = _plain(command.epilog).removeprefix("Example: ")
        lines += ["", "Example:", "", f"```sh\n{example}\n```"]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Return text without Rich's markup."""
    return re.sub(r"\[/?(?:bold)?\]", "", " ".join(text.split()))


def _cell(text: str) -> str:
    """Return text as it must be written in a cell of a Markdown table."""
    return text.replace("|", "\\|")
