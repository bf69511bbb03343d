"""The command line: parse, one call, print. Everything heavy is imported where it is needed.

Exit codes: 0 done, 1 the work failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from nst_core.errors import NstError
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
from tuner.console import err, out

INTERRUPTED = 130

app = typer.Typer(
    name="nst-tuner",
    help="Tune neural style transfer on a cluster, inspect the best, apply the presets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (cli_runs, cli_results, cli_suggest, cli_images, cli_metrics, cli_lists):
    app.add_typer(part.app)


def main() -> None:
    """Run the command line; the console script."""
    try:
        app(with_home(sys.argv[1:]))
    except NstError as error:
        sys.exit(_fail(str(error), error.exit_code))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted", INTERRUPTED))
    except SystemExit as leaving:
        # typer turns a Ctrl-C within a command into this, and says nothing.
        sys.exit(_fail("interrupted", INTERRUPTED) if leaving.code == INTERRUPTED else leaving.code)
    except BrokenPipeError:
        # The reader of our output left, as `head` does. Python would complain once more at exit
        # when it flushes what nobody reads.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    if version:
        out.print(f"nst-tuner {__version__}", highlight=False)
        raise typer.Exit
