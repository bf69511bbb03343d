"""Commands that list what is built in, and doctor: weights, extractors, spaces, presets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nst_core.errors import InputError
from tuner.cli.plain_help import PlainCommand, PlainGroup
from tuner.terminal import completion
from tuner.terminal.console import AddressOption, JsonOption, example, out, print_json, say

app = typer.Typer(rich_markup_mode="rich")

#: Weights that the demo needs, which `weights fetch` fetches by default.
_DEMO_WEIGHTS = ["vgg16", "alexnet", "lpips-alex"]

weights_app = typer.Typer(
    help="List the pretrained weights, or fetch more of them.",
    cls=PlainGroup,
    rich_markup_mode="rich",
)
app.add_typer(weights_app, name="weights")


@weights_app.callback(invoke_without_command=True, epilog=example("weights fetch vgg16"))
def weights_list(context: typer.Context, json: JsonOption = False) -> None:
    """List the pretrained weights and whether they are in the cache, or fetch more of them."""
    if context.invoked_subcommand:
        if json:
            raise InputError("--json: `weights fetch` prints no JSON; leave it out")
        return
    from rich.table import Table

    from nst_core.networks.weights import SOURCES, is_cached

    cached = {name: is_cached(name) for name in SOURCES}
    if json:
        print_json({name: {"cached": is_there} for name, is_there in cached.items()})
        return
    table = Table("weights", "in the cache", "license")
    for name, source in SOURCES.items():
        table.add_row(name, "[green]yes[/]" if cached[name] else "no", source.licence)
    out.print(table)


@weights_app.command("fetch", cls=PlainCommand, epilog=example("weights fetch vgg16 alexnet"))
def weights_fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help=f"names of weights; default: {' '.join(_DEMO_WEIGHTS)}",
            autocompletion=completion.weights,
        ),
    ] = None,
) -> None:
    """Fetch weights into the cache and verify them."""
    from nst_core.networks.weights import check_name, get_weights

    wanted = names or _DEMO_WEIGHTS
    for name in wanted:
        check_name(name)
    for name in wanted:
        get_weights(name, say=say)
        out.print(f"{name}: in the cache", highlight=False)


@app.command(epilog=example("extractors vgg16"))
def extractors(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="list the layers of this network",
            autocompletion=completion.networks,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the feature networks, or one network's layers with receptive field and cost."""
    from nst_core.errors import near_miss
    from nst_core.networks.layer_info import describe_network
    from nst_core.networks.registry import NETWORKS
    from tuner.terminal.tables import layers_table, networks_table

    if name is not None and name not in NETWORKS:
        raise InputError(
            f"`{name}`: no such network{near_miss(name, NETWORKS)} ({', '.join(NETWORKS)})"
        )
    networks = {key: describe_network(key) for key in ([name] if name else NETWORKS)}
    if json:
        print_json({key: [vars(layer) for layer in layers] for key, layers in networks.items()})
    else:
        out.print(
            layers_table(NETWORKS[name], networks[name]) if name else networks_table(networks)
        )


@app.command(epilog=example("spaces gram"))
def spaces(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="show this search space: a name or a file",
            autocompletion=completion.spaces,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the search spaces, or show the parameters and ranges of one.

    Save the output of `spaces NAME --json` to a file to write a search space of your own.
    """
    from search_spaces import CATALOGUE, space_to_dict
    from search_spaces.stylizer_space import StylizerSpace, stylizer_space_to_dict
    from tuner.job.find_space import find_any_space
    from tuner.terminal.tables import space_table, spaces_table

    space = find_any_space(name) if name else None
    if isinstance(space, StylizerSpace) and json:
        print_json(stylizer_space_to_dict(space))
    elif json:
        spaces_json = {key: space_to_dict(each) for key, each in CATALOGUE.items()}
        print_json(space_to_dict(space) if space else spaces_json)
    else:
        out.print(space_table(space) if space else spaces_table(CATALOGUE))


@app.command(epilog=example("presets adam-1000"))
def presets(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="show this preset: a name or a file",
            autocompletion=completion.presets,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the built-in presets, or show the settings of one."""
    from rich.table import Table

    from nst_core.presets.built_in import BUILT_IN, load_preset
    from tuner.terminal.tables import preset_table

    if name:
        preset = load_preset(name)
        if json:
            print_json(preset.to_dict())
        else:
            out.print(preset_table(preset))
        return
    if json:
        print_json({preset.name: preset.description for preset in BUILT_IN.values()})
        return
    table = Table("preset", "description")
    for preset in BUILT_IN.values():
        table.add_row(preset.name, preset.description)
    out.print(table)


@app.command(epilog=example("doctor runs/cafe"))
def doctor(
    run_dir: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="check this run directory instead of the machine",
            autocompletion=completion.runs,
        ),
    ] = None,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Check this machine: platform, Python, torch, GPU, Ray, weights, disk. Or check a run.

    The exit code is 1 if a check fails.
    """
    from tuner.doctor.machine_checks import check_machine
    from tuner.study.preflight_checks import check_run as check_is_run

    if run_dir and address:
        raise InputError(
            "--address: belongs to the check of this machine, not of a run; leave it out"
        )
    if run_dir:
        check_is_run(run_dir)
        from tuner.doctor.run_checks import check_run

        checks = check_run(run_dir)
    else:
        checks = check_machine(address)
    failed = any(check.ok is False for check in checks)
    if json:
        print_json({"checks": [vars(check) for check in checks], "ok": not failed})
    else:
        marks = {True: "[green]ok  [/]", False: "[bold red]FAIL[/]", None: "[yellow]note[/]"}
        for check in checks:
            out.print(marks[check.ok], end=" ")
            out.print(f"{check.name}: {check.found}", markup=False, highlight=False)
    if failed:
        raise typer.Exit(1)
