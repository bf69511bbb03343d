"""The command that renders the best results of a run again: render."""

from __future__ import annotations

from typing import Annotated

import typer

from nst_core.config import MAX_SIZE_PX, MIN_SIDE_PX
from tuner.terminal.console import RunArgument, TrustOption, err, example, say

app = typer.Typer(rich_markup_mode="rich")


@app.command(epilog=example("render runs/cafe --size-px 512"))
def render(
    run_dir: RunArgument,
    size_px: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=MIN_SIDE_PX,
            max=MAX_SIZE_PX,
            help="longer side of the pictures; default: `present.size_px` of the job",
        ),
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Render the best trial and the best preset of a run again, at a size worth looking at.

    The page, the contact sheet and the PNG of the page show these pictures. A run does this at its
    end; use this command for another size, or for a run of an older version.
    """
    from tuner.results.results import load_results
    from tuner.study.lock import check_unused
    from tuner.study.preflight_checks import check_run
    from tuner.study.run_dir import RunDir
    from tuner.stylizers.trust import require_trust_of

    check_run(run_dir)
    check_unused(run_dir)
    results = load_results(run_dir)
    require_trust_of(results.job, results.run.job_file, trusted=trust)
    with err.status("loading torch") as status:
        from nst_core.errors import WorkError
        from tuner.run.present import render_run

        reason = render_run(RunDir(run_dir), size_px, doing=status.update, say=say)
    if reason:
        raise WorkError(f"{run_dir}: {reason}")
    say(f"to look at them: nst-tuner report {run_dir} --open")
