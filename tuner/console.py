"""What the command line's parts share: its two consoles and common options.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

out = Console()
err = Console(stderr=True)

RunArgument = Annotated[Path, typer.Argument(metavar="DIR", help="a run directory")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output, nothing else")]
AddressOption = Annotated[
    str | None, typer.Option(metavar="ADDR", help="a running Ray cluster; default: this machine")
]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option("--weights", metavar="NAME=FILE", help="weights file to use; repeatable"),
]


def example(command: str) -> str:
    """A command's epilogue."""
    return f"Example: [bold]nst-tuner {command}[/]"


def say(line: str) -> None:
    """One line for people, on standard error."""
    err.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
