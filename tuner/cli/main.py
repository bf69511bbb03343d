"""The command line: puts the commands together, and turns errors and signals into exit codes.

Exit codes: 0 success, 1 the work failed, 2 bad input; 130, 143 and 129 if Ctrl-C, SIGTERM or
SIGHUP ended the command. Commands import heavy libraries only where they need them.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from nst_core.errors import InputError, NstError, WorkError
from tuner import __version__
from tuner.cli import (
    control,
    distilling,
    launching,
    listing,
    metrics,
    new_job,
    pictures,
    rendering,
    results,
)
from tuner.cli.arguments import with_home
from tuner.cli.plain_help import PlainCommand, PlainGroup
from tuner.cli.streams import OutputError, close_output, forget_output, open_streams
from tuner.doctor.platforms import require_platform
from tuner.job.cloud_storage import has_open_calls
from tuner.search.interrupt import end_by_signals, exit_code, ignore_signals
from tuner.terminal.console import err, out, say_warnings

INTERRUPTED = 130

app = typer.Typer(
    name="nst-tuner",
    help=(
        "Find the best settings for neural style transfer, on this machine or on a Ray cluster,"
        " and apply them to your pictures."
    ),
    epilog=(
        "Exit codes: 0 success, 1 the work failed, 2 bad input; 130, 143 or 129 if Ctrl-C, SIGTERM"
        " or SIGHUP ended the command. To continue a run that was interrupted:"
        " [bold]nst-tuner resume DIR[/]"
    ),
    cls=PlainGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
#: Headings of `nst-tuner --help` -> the commands below them, in this order.
_PANELS = {
    "Start and continue a run": ("init", "launch", "demo", "resume", "attach", "fetch"),
    "Follow and steer it": ("status", "ctl", "ls", "dashboard"),
    "Its results": ("best", "report", "render", "prefer", "export"),
    "Pictures and metrics": ("stylize", "distill", "reference", "score", "metrics"),
    "Lists and checks": ("spaces", "presets", "extractors", "weights", "doctor"),
}
_PLACES = {
    name: (place, panel)
    for place, (name, panel) in enumerate(
        (name, panel) for panel, names in _PANELS.items() for name in names
    )
}


def _place(name: str | None) -> tuple[int, str]:
    """Return the place of a command in the help, and its heading."""
    return _PLACES.get(str(name), (len(_PLACES), "More"))


def _put_together() -> None:
    """Add the commands of all modules, in the order of `_PANELS`."""
    runs = (new_job, launching, control, results, rendering)
    for module in (*runs, pictures, distilling, metrics, listing):
        for command in module.app.registered_commands:
            assert command.callback is not None
            command.name = command.name or command.callback.__name__
            command.cls, command.rich_help_panel = PlainCommand, _place(command.name)[1]
        app.registered_commands += module.app.registered_commands
        for group in module.app.registered_groups:
            group.rich_help_panel = _place(group.name)[1]
        app.registered_groups += module.app.registered_groups
    app.registered_commands.sort(key=lambda command: _place(command.name)[0])


_put_together()

#: What typer raises for a wrong option, argument or command. The class has no public name.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]


def main() -> None:
    """Run the command line and exit; the entry point of the console script ``nst-tuner``."""
    open_streams()
    say_warnings()
    with end_by_signals():
        code = _run()
        if has_open_calls():  # a storage that does not answer would delay the exit by a minute
            sys.stderr.flush()
            os._exit(code)
        sys.exit(code)


def _run() -> int:
    """Run the command line and return its exit code."""
    try:
        require_platform()
        # In standalone mode typer would print its errors in a box; ours are plain lines.
        code = app(with_home(sys.argv[1:]), standalone_mode=False, prog_name="nst-tuner")
        close_output()
        if code == INTERRUPTED:  # typer returns this after a Ctrl-C within a command
            raise KeyboardInterrupt
        return int(code or 0)
    except _USAGE_ERROR as error:
        return _fail(_usage(error), InputError.exit_code)
    except OutputError as error:
        forget_output()
        return _fail(str(error), error.exit_code) if error.exit_code else 0
    except NstError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except MemoryError:
        return _fail(
            "not enough memory; `free -h` shows how much is free, and `ulimit -v` whether this"
            " shell limits it",
            WorkError.exit_code,
        )


def _usage(error: Any) -> str:
    """Return the message for a wrong option or argument, with the command's usage."""
    from tuner.job.key_errors import plain_words  # brings pydantic

    message: str = error.format_message().rstrip(".")
    message = message[:1].lower() + message[1:]
    message = plain_words(message.replace("Input should be ", "expected "))
    if error.ctx is None:
        return message
    command = error.ctx.command_path
    return f"{message}\n{error.ctx.get_usage()}\n`{command} --help` explains the options"


def _fail(message: str, code: int) -> int:
    """Print an error message and return the exit code."""
    if code == INTERRUPTED:
        # torch takes a second or two to unload. Another signal in that time would kill this
        # process without the message and with another exit code.
        ignore_signals()
        code = exit_code()
    err.print("error:", style="bold red", end=" ")
    err.print(message, markup=False, highlight=False, soft_wrap=True)
    return code


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    if version:
        out.print(f"nst-tuner {__version__}", highlight=False)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(InputError.exit_code)
