"""The command line: parse, one call, print. Everything heavy is imported where it is needed.

Exit codes: 0 done, 1 the work failed, 2 bad input; 130, 143 and 129 ended by Ctrl-C, SIGTERM and
SIGHUP.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from nst_core.errors import InputError, NstError, WorkError
from tuner import __version__
from tuner.cli import launching as cli_runs
from tuner.cli import listing as cli_lists
from tuner.cli import metrics as cli_metrics
from tuner.cli import pictures as cli_images
from tuner.cli import results as cli_results
from tuner.cli import suggesting as cli_suggest
from tuner.cli.arguments import with_home
from tuner.cli.plain_help import PlainCommand, PlainGroup
from tuner.cli.streams import OutputError, close_output, forget_output, open_streams
from tuner.doctor.platforms import require_platform
from tuner.job.object_store import still_asking
from tuner.search.interrupt import end_by_signals, exit_code, ignore_signals
from tuner.terminal.console import err, out, say_warnings

INTERRUPTED = 130

app = typer.Typer(
    name="nst-tuner",
    help="Tune neural style transfer on a cluster, inspect the best, apply the presets.",
    epilog=(
        "Exit codes: 0 done, 1 the work failed, 2 bad input; ended by a signal: 130 by Ctrl-C,"
        " 143 by SIGTERM, 129 by SIGHUP. A launch that a signal ends keeps its run: go on with"
        " [bold]nst-tuner resume DIR[/]"
    ),
    cls=PlainGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (cli_runs, cli_results, cli_suggest, cli_images, cli_metrics, cli_lists):
    for command in part.app.registered_commands:
        command.cls = PlainCommand
    app.add_typer(part.app)

#: What typer raises of a wrong option, argument or command. It has no public name for it.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]


def main() -> None:
    """Run the command line; the console script."""
    open_streams()
    say_warnings()
    with end_by_signals():
        code = _run()
        if still_asking():  # a storage that does not answer would hold up the exit for a minute
            sys.stderr.flush()
            os._exit(code)
        sys.exit(code)


def _run() -> int:
    """Run the command line; returns its exit code."""
    try:
        require_platform()
        # Not standalone: typer would draw a box around its errors, and ours are lines.
        code = app(with_home(sys.argv[1:]), standalone_mode=False, prog_name="nst-tuner")
        close_output()
        if code == INTERRUPTED:  # typer turns a Ctrl-C within a command into this
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
            "not enough memory; `ulimit -v` says whether this shell bounds it, `free -h` what is"
            " left",
            WorkError.exit_code,
        )


def _usage(error: Any) -> str:
    """What is wrong with a command's options or arguments, and what it takes."""
    message: str = error.format_message().rstrip(".")
    message = message[:1].lower() + message[1:]
    message = message.replace("Input should be ", "expected ").replace("Value error, ", "")
    if error.ctx is None:
        return message
    command = error.ctx.command_path
    return f"{message}\n{error.ctx.get_usage()}\n`{command} --help` explains what it takes"


def _fail(message: str, code: int) -> int:
    if code == INTERRUPTED:
        # Leaving takes torch a second or two; a further signal would kill us in it, without the
        # message and with another exit code.
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
