"""init: from three pictures to a job file; also the job of `launch` without a job file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nst_core.errors import InputError
from nst_core.files import write_atomic, writing
from tuner.terminal.console import ForceOption, err, example, out, say

if TYPE_CHECKING:
    from tuner.run.new_job import Pictures, Proposal

app = typer.Typer(rich_markup_mode="rich")

ContentOption = Annotated[
    Path | None, typer.Option("--content", metavar="C", help="the picture to stylize")
]
StylesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--style", metavar="S", help="the picture whose style it gets; repeatable, to blend styles"
    ),
]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(
        "--reference",
        metavar="R",
        help="a picture that shows what the result should look like; `nst-tuner reference` makes"
        " one",
    ),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        metavar="M", min=1, max=100_000, help="minutes that the run may take; default: 20"
    ),
]


@app.command(epilog=example("init --content photo.jpg --style art.jpg --reference wish.png"))
def init(
    content: ContentOption = None,
    style: StylesOption = None,
    reference: ReferenceOption = None,
    out_file: Annotated[
        Path, typer.Option("--out", metavar="J.yaml", help="the job file to write")
    ] = Path("job.yaml"),
    minutes: MinutesOption = None,
    force: ForceOption = False,
) -> None:
    """Write a job file for three pictures, with a size and a budget that suit this machine.

    Asks for the pictures that are not given. A few steps are measured to say how long the run will
    take.
    """
    from nst_core.output_files import check_text_output

    pictures = asked_pictures(content, style or (), reference)
    pictures.sizes()
    check_text_output("--out", out_file, pictures.files.values(), force=force, say=say)
    proposal = proposed(pictures, minutes)
    from tuner.run.new_job import job_text

    with writing(out_file):
        write_atomic(out_file, job_text(proposal, out_file).encode())
    say(f"wrote {out_file}; to start the run:")
    out.print(f"  nst-tuner launch {out_file}", markup=False, highlight=False, soft_wrap=True)


def asked_pictures(
    content: Path | None, styles: Sequence[Path], reference: Path | None
) -> Pictures:
    """Return the pictures of the options; in a terminal, ask for those that are missing.

    Raises:
        InputError: a picture is missing, and there is no terminal to ask in.
    """
    from tuner.run.new_job import Pictures

    options = {"--content": content, "--style": styles, "--reference": reference}
    missing = [option for option, value in options.items() if not value]
    if missing and not (sys.stdin and sys.stdin.isatty()):
        raise InputError(
            f"{', '.join(missing)}: missing; expected a content image, a style image and a"
            " reference, which shows what the result should look like (in a terminal, nst-tuner"
            " asks for them)"
        )
    return Pictures(
        content=content or _ask("The picture to stylize"),
        styles=list(styles) or [_ask("The picture whose style it gets")],
        reference=reference or _ask("A picture that shows what the result should look like"),
    )


def _ask(question: str) -> Path:
    """Ask for a picture until there is one."""
    from nst_core.images.sizes import check_image

    while True:
        path = Path(os.path.expanduser(typer.prompt(question, err=True).strip()))  # noqa: PTH111
        try:
            check_image(path)
        except InputError as error:
            say(str(error))
        else:
            return path


def proposed(pictures: Pictures, minutes: float | None, changes: Sequence[str] = ()) -> Proposal:
    """Measure this machine, and print and return the job that suits the pictures and it.

    Args:
        pictures: the pictures.
        minutes: minutes that the run may take.
        changes: assignments ``key.sub=value`` that the printed job has, too.
    """
    with err.status("loading torch, then measuring a few steps"):
        from tuner.cluster.engine_shapes import local_workers
        from tuner.run.new_job import MINUTES, propose

        device, workers = local_workers()
        proposal = propose(
            pictures, device=device, workers=workers, minutes=minutes or MINUTES, say=say
        )
    from tuner.terminal.tables import proposal_table

    out.print(proposal_table(proposal.changed(changes)))
    return proposal
