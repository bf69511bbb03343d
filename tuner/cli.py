"""The command line: parse, one call, print. Everything heavy is imported where it is needed.

Exit codes: 0 done, 1 the work failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer

from nst_core.errors import InputError, NstError
from tuner import (
    __version__,
    cli_images,
    cli_lists,
    cli_metrics,
    cli_results,
    cli_runs,
    cli_suggest,
)
from tuner.arguments import with_home
from tuner.console import err, out, say_warnings
from tuner.plain_help import PlainCommand, PlainGroup

INTERRUPTED = 130

app = typer.Typer(
    name="nst-tuner",
    help="Tune neural style transfer on a cluster, inspect the best, apply the presets.",
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
    say_warnings()
    try:
        # Not standalone: typer would draw a box around its errors, and ours are lines.
        code = app(with_home(sys.argv[1:]), standalone_mode=False, prog_name="nst-tuner")
        if code:
            sys.exit(_fail("interrupted", INTERRUPTED) if code == INTERRUPTED else code)
    except _USAGE_ERROR as error:
        sys.exit(_fail(_usage(error), InputError.exit_code))
    except NstError as error:
        sys.exit(_fail(str(error), error.exit_code))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted", INTERRUPTED))
    except BrokenPipeError:
        # The reader of our output left, as `head` does. Python would complain once more at exit
        # when it flushes what nobody reads.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        # Leaving takes torch a second or two; a further Ctrl-C would kill us in it, without the
        # message and with another exit code.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
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
