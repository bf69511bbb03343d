"""The command line: parse, one call, print. Everything heavy is imported where it is needed.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 the work
failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nst_core.errors import NstError
from tuner import __version__

app = typer.Typer(
    name="nst-tuner",
    help="Tune neural style transfer on a cluster, inspect the best, apply the presets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
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


def _example(command: str) -> str:
    return f"Example: [bold]nst-tuner {command}[/]"


def main() -> None:
    """Run the command line; the console script."""
    try:
        app()
    except NstError as error:
        sys.exit(_fail(str(error), error.exit_code))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted", 130))
    except BrokenPipeError:
        # The reader of our output left, as `head` does. Python would complain once more at exit
        # when it flushes what nobody reads.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    err.print("error:", style="bold red", end=" ")
    err.print(message, markup=False, highlight=False, soft_wrap=True)
    return code


def _say(line: str) -> None:
    err.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    if version:
        out.print(f"nst-tuner {__version__}", highlight=False)
        raise typer.Exit


# --- runs -----------------------------------------------------------------------------------------


@app.command(epilog=_example("launch job.yaml --run-dir runs/cafe --set search.trials=24"))
def launch(
    job: Annotated[Path, typer.Argument(metavar="JOB.yaml", help="a job file")],
    run_dir: Annotated[Path, typer.Option(metavar="DIR", help="becomes the run directory")],
    address: AddressOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="override a key of the job; repeatable"),
    ] = None,
) -> None:
    """Run a job on this machine or on a cluster."""
    from tuner.job import load_job

    spec, space = load_job(job, set_ or ())
    _launch(spec, space, run_dir, address)


def _launch(spec, space, run_dir: Path, address: str | None) -> None:  # type: ignore[no-untyped-def]
    from tuner.connect import ray_backend
    from tuner.progress import ProgressWatcher
    from tuner.run import run_job

    backend = ray_backend(address)
    with ProgressWatcher(spec, err) as watcher:
        run_job(spec, space, run_dir, backend, watcher=watcher, say=watcher.say)
    _show_result(run_dir)


@app.command(epilog=_example("resume runs/cafe"))
def resume(run_dir: RunArgument, address: AddressOption = None) -> None:
    """Go on to the job's target after any interruption."""
    from tuner.connect import ray_backend
    from tuner.progress import ProgressWatcher
    from tuner.results import load_results
    from tuner.run import resume_run

    results = load_results(run_dir)
    backend = ray_backend(address)
    with ProgressWatcher(results.job, err, done=results.status_json()["done"]) as watcher:
        resume_run(run_dir, backend, watcher=watcher, say=watcher.say)
    _show_result(run_dir)


def _show_result(run_dir: Path) -> None:
    from tuner.results import load_results
    from tuner.sheet import run_sheet
    from tuner.tables import best_table

    results = load_results(run_dir)
    out.print(best_table(results, top=5))
    if results.ranked():
        run_sheet(results).save(results.run.contact_sheet, quality=92)
        out.print(f"Look at [bold]{results.run.contact_sheet}[/]")


@app.command(epilog=_example("demo --out demo-run"))
def demo(
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="becomes the run directory")
    ] = Path("demo-run"),
) -> None:
    """Run the main job on a built-in pair: a photo, a painting, a reference."""
    import tempfile

    from rich.progress import Progress

    from nst_core.samples import REFERENCE_CONFIG
    from nst_core.weights import get_weights
    from tuner.demo import write_demo_job
    from tuner.job import load_job
    from tuner.rundir import RunDir

    RunDir(out_dir).require_new()
    weights = {name: get_weights(name, say=_say) for name in ("vgg16", "alexnet", "lpips-alex")}
    with tempfile.TemporaryDirectory() as folder:
        with Progress(console=err) as progress:
            task = progress.add_task("making the reference", total=REFERENCE_CONFIG.steps)
            job_file = write_demo_job(
                Path(folder),
                weights.__getitem__,
                lambda step: progress.update(task, completed=step.step),
            )
        spec, space = load_job(job_file)
        _launch(spec, space, out_dir, address=None)


@app.command(epilog=_example("status runs/cafe"))
def status(run_dir: RunArgument, json: JsonOption = False) -> None:
    """Where a run is."""
    from tuner.results import dump, load_results

    results = load_results(run_dir)
    if json:
        print(dump(results.status_json()))  # noqa: T201
        return
    from tuner.tables import status_table

    out.print(status_table(results))


@app.command(epilog=_example("best runs/cafe --top 3"))
def best(
    run_dir: RunArgument,
    top: Annotated[int | None, typer.Option(min=1, help="how many; all in JSON, else 10")] = None,
    json: JsonOption = False,
) -> None:
    """The best configurations beside the baselines."""
    from tuner.results import dump, load_results

    results = load_results(run_dir)
    if json:
        print(dump(results.best_json(top)))  # noqa: T201
        return
    from tuner.tables import best_table

    out.print(best_table(results, top or 10))


@app.command(epilog=_example("export runs/cafe --out cafe.json"))
def export(
    run_dir: RunArgument,
    out_file: Annotated[
        Path, typer.Option("--out", metavar="PRESET.json", help="the file to write")
    ],
    trial: Annotated[int | None, typer.Option(min=0, help="which trial; default: the best")] = None,
) -> None:
    """Write the tuned preset with its provenance."""
    from tuner.results import load_results

    results = load_results(run_dir)
    preset = results.preset(trial)
    preset.save(out_file)
    if not results.beats_content(preset.provenance["scores"][results.job.objective]):
        err.print("This preset does NOT beat the untouched content.", style="bold red")
    _say(f"wrote {out_file}: {preset.description}")


# --- images ---------------------------------------------------------------------------------------


@app.command(
    epilog=_example("stylize --content photo.jpg --style art.jpg -p cafe.json --out o.png")
)
def stylize(
    content: Annotated[Path, typer.Option(metavar="C", help="the picture to stylize")],
    style: Annotated[
        list[str], typer.Option(metavar="S[:WEIGHT]", help="a style image; repeatable to blend")
    ],
    out_file: Annotated[Path, typer.Option("--out", metavar="O.png", help="the result")],
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", metavar="P", help="built-in name or file")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="set or override a setting; repeatable"),
    ] = None,
    size_px: Annotated[int | None, typer.Option(help="longer side of the result")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of a noise start")] = None,
    weights: WeightsOption = None,
) -> None:
    """Apply a preset, or settings given with --set, to a picture."""
    from tuner.apply import apply_preset, settings

    chosen = settings(preset, set_ or (), size_px=size_px, seed=seed)
    apply_preset(chosen, content, style, out_file, weights=weights or (), console=err, say=_say)


@app.command(epilog=_example("score o.png --reference r.png --json"))
def score(
    image: Annotated[Path, typer.Argument(help="the picture to score")],
    reference: Annotated[Path, typer.Option(metavar="R", help="what it should look like")],
    content: Annotated[
        Path | None, typer.Option(metavar="C", help="also score this untouched content")
    ] = None,
    json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """Every metric of one picture against a reference, compared at the picture's size."""
    from tuner.apply import score_image
    from tuner.results import dump
    from tuner.tables import scores_table

    scores = score_image(image, reference, content, weights=weights or (), say=_say)
    if json:
        content_scores = {"content": scores["content"]} if content else {}
        print(dump({"scores": scores["image"], **content_scores}))  # noqa: T201
        return
    names = {"image": image.name, "content": f"untouched {content.name if content else ''}"}
    out.print(scores_table({names[key]: values for key, values in scores.items()}))


# --- what there is --------------------------------------------------------------------------------

weights_app = typer.Typer(help="Pretrained weights: what is cached, and fetching more.")
app.add_typer(weights_app, name="weights")


@weights_app.callback(invoke_without_command=True, epilog=_example("weights fetch vgg16"))
def weights_list(context: typer.Context, json: JsonOption = False) -> None:
    """List pretrained weights and whether they are in the cache."""
    if context.invoked_subcommand:
        return
    from rich.table import Table

    from nst_core.weights import SOURCES, cached_path
    from tuner.results import dump

    here = {name: cached_path(name).is_file() for name in SOURCES}
    if json:
        print(dump({name: {"cached": there} for name, there in here.items()}))  # noqa: T201
        return
    table = Table("weights", "cached", "licence")
    for name, source in SOURCES.items():
        mark = "[green]yes[/]" if here[name] else "no"
        table.add_row(name, mark, source.licence)
    out.print(table)


@weights_app.command("fetch", epilog=_example("weights fetch vgg16 alexnet"))
def weights_fetch(
    names: Annotated[list[str] | None, typer.Argument(help="default: what the demo needs")] = None,
) -> None:
    """Fetch weights into the cache, verified."""
    from nst_core.weights import check_name, get_weights

    wanted = names or ["vgg16", "alexnet", "lpips-alex"]
    for name in wanted:
        check_name(name)
    for name in wanted:
        get_weights(name, say=_say)
        out.print(f"{name}: here", highlight=False)


@app.command(epilog=_example("spaces gram"))
def spaces(
    name: Annotated[str | None, typer.Argument(help="a space or a path to one")] = None,
) -> None:
    """List the search spaces, or draw one as a table."""
    from rich.table import Table

    from search_spaces import CATALOGUE
    from tuner.job import find_space
    from tuner.tables import space_table

    if name:
        out.print(space_table(find_space(name)))
        return
    table = Table("space", "parameters", "why")
    for space in CATALOGUE.values():
        table.add_row(space.name, ", ".join(space.params), space.why)
    out.print(table)


@app.command(epilog=_example("presets adam-1000"))
def presets(
    name: Annotated[str | None, typer.Argument(help="a preset or a path to one")] = None,
    json: JsonOption = False,
) -> None:
    """List the built-in presets, or show one."""
    from rich.table import Table

    from nst_core.presets import BUILT_IN, load_preset
    from tuner.tables import preset_table

    if name:
        preset = load_preset(name)
        if json:
            print(preset.to_json(), end="")  # noqa: T201
        else:
            out.print(preset_table(preset))
        return
    table = Table("preset", "what it is")
    for preset in BUILT_IN.values():
        table.add_row(preset.name, preset.description)
    out.print(table)


@app.command(epilog=_example("doctor"))
def doctor(address: AddressOption = None, json: JsonOption = False) -> None:
    """Check Python, torch and GPU, Ray, weights, disk and the address."""
    from tuner.doctor import check_all
    from tuner.results import dump

    checks = check_all(address)
    failed = any(check.ok is False for check in checks)
    if json:
        print(dump({"checks": [vars(check) for check in checks], "ok": not failed}))  # noqa: T201
    else:
        for check in checks:
            mark = {True: "[green]ok  [/]", False: "[bold red]FAIL[/]", None: "[yellow]note[/]"}
            out.print(mark[check.ok], end=" ")
            out.print(f"{check.name}: {check.found}", markup=False, highlight=False)
    if failed:
        raise typer.Exit(1)
