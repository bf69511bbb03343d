"""ctl: commands to a running search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nst_core.errors import InputError
from tuner.terminal import completion
from tuner.terminal.console import JsonOption, example, out, print_json

app = typer.Typer(rich_markup_mode="rich")

#: Seconds to wait for the search: on a slow CPU it looks between two turns of some seconds each.
WAIT_S = 30.0


@app.command(epilog=example("ctl runs/cafe try tv_weight=50 init=style"))
def ctl(
    run_dir: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="a run directory", autocompletion=completion.runs),
    ],
    command: Annotated[
        str,
        typer.Argument(
            metavar="COMMAND",
            help="`pause`, `resume`, `stop-trial N`, `try KEY=VALUE …`, `more-like N` or"
            " `set KEY=VALUE …`",
            autocompletion=completion.control_commands,
        ),
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGUMENT", help="arguments of the command")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(metavar="K", min=1, help="number of trials for `more-like`; default: 6"),
    ] = None,
    wait_s: Annotated[
        float,
        typer.Option(
            "--wait", metavar="S", min=0, help="seconds to wait until the search has carried it out"
        ),
    ] = WAIT_S,
    json: JsonOption = False,
) -> None:
    """Steer a running search: pause it, try settings, search near a trial, change the budget.

    `pause` lets trials reach their next rung. `stop-trial N` ends a trial at its next report.
    `try` runs a configuration next; parameters that are not given are drawn. `more-like N` runs
    configurations near trial N next. `set` changes `search.trials` or a key of `budget`. Each
    command is carried out exactly once, even if the run is killed and resumed.
    """
    from tuner.study.command_words import DONE, outcome_json, parse
    from tuner.study.commands import NAMES, send, wait_for
    from tuner.study.preflight_checks import check_run

    if str(run_dir) in NAMES and not run_dir.exists():
        raise InputError(
            f"{run_dir}: no such run directory; it comes before the command:"
            f" nst-tuner ctl DIR {run_dir}"
        )
    check_run(run_dir)
    parsed = parse(command, arguments or [], count)
    command_id = send(run_dir, parsed)
    record = wait_for(run_dir, command_id, wait_s)
    if json:
        print_json(outcome_json(command_id, parsed, record))
        if record and record.refused:
            raise typer.Exit(InputError.exit_code)
    elif record is None:
        out.print(f"{parsed}: sent; the search carries it out before its next trial", markup=False)
    elif record.refused:
        raise InputError(f"{parsed}: {record.refused}")
    else:
        out.print(f"{parsed}: {DONE[parsed.name]}", markup=False, highlight=False)
