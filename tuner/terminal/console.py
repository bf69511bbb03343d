"""What the command line's parts share: its two consoles and common options.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from tuner.terminal import completion

#: What a terminal would obey: all control characters but the new line.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class PlainConsole(Console):
    """Prints text of runs that others made without the commands to a terminal that may be in it."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See `rich.console.Console`; commands of rich itself stay."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else _CONTROL.sub("", text), style, control)


out = PlainConsole()
err = PlainConsole(stderr=True)


def _a_run(context: typer.Context, path: Path) -> Path:
    """Refuse what is no run before anything heavy is imported to read it."""
    if context.resilient_parsing:  # the shell completes
        return path
    from tuner.study.early_checks import check_run

    return check_run(path)


RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="a run directory", callback=_a_run, autocompletion=completion.runs
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output, nothing else")]
AddressOption = Annotated[
    str | None, typer.Option(metavar="ADDR", help="a running Ray cluster; default: this machine")
]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option("--weights", metavar="NAME=FILE", help="weights file to use; repeatable"),
]
ForceOption = Annotated[
    bool,
    typer.Option(
        "--force",
        help="replace a file that is there and that nst-tuner did not make; the command's own"
        " input files are never replaced",
    ),
]


def example(command: str) -> str:
    """A command's epilogue."""
    return f"Example: [bold]nst-tuner {command}[/]"


def say(line: str) -> None:
    """One line for people, on standard error."""
    err.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)


class _Said(logging.Handler):
    """Says what the library warns of, such as metadata of a picture that it ignored."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


_SAID = _Said(logging.WARNING)


def say_warnings() -> None:
    """Let warnings of ``nst_core`` reach people as `say` does; a second call changes nothing."""
    logging.getLogger("nst_core").addHandler(_SAID)
