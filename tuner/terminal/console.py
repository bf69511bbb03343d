"""What all commands share: the two consoles, common options, and lines for people.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from tuner.terminal import completion

#: Control characters, except the newline: a terminal would execute them.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class PlainConsole(Console):
    """A console that removes control characters from text.

    Names and messages of a run may come from other people and could contain terminal commands.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See `rich.console.Console.render`; rich's own control segments are kept."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else _CONTROL.sub("", text), style, control)


out = PlainConsole()
err = PlainConsole(stderr=True)


def _require_run(context: typer.Context, path: Path) -> Path:
    """Refuse a path that is no run directory before anything heavy is imported to read it."""
    if context.resilient_parsing:  # shell completion parses incomplete commands
        return path
    from tuner.study.preflight_checks import check_run

    return check_run(path)


RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="a run directory",
        callback=_require_run,
        autocompletion=completion.runs,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON and nothing else")]
AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDR",
        help="HOST:PORT of the head of a running Ray cluster, or `auto`; default: this machine",
    ),
]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        metavar="NAME=FILE",
        help="read the weights of a network from this file, such as vgg19=vgg19.pth; repeatable",
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="run the code that the file names as its `stylizer`; it is asked for only once",
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option(
        "--force",
        help="replace an existing output file even if nst-tuner did not write it; input files of"
        " the command are never replaced",
    ),
]


def example(command: str) -> str:
    """Return the last line of a command's --help: an example."""
    return f"Example: [bold]nst-tuner {command}[/]"


def say(line: str) -> None:
    """Print one line for people on standard error."""
    err.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)


def warn(line: str) -> None:
    """Print one warning in red on standard error."""
    err.print(line, style="bold red", markup=False, highlight=False, soft_wrap=True)


def print_json(content: Mapping[str, Any]) -> None:
    """Print JSON, and nothing else, on standard output."""
    from tuner.results.as_json import dump

    print(dump(content))  # noqa: T201  # rich would wrap and color it


class _WarningPrinter(logging.Handler):
    """Prints log records with `say`."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


_WARNING_PRINTER = _WarningPrinter(logging.WARNING)


def say_warnings() -> None:
    """Print warnings of ``nst_core``, such as ignored metadata of a picture, with `say`.

    A second call changes nothing.
    """
    logging.getLogger("nst_core").addHandler(_WARNING_PRINTER)
