"""Commands that list what there is: weights, extractors, spaces, presets, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nst_core.errors import InputError
from tuner.cli.plain_help import PlainCommand, PlainGroup
from tuner.terminal import completion
from tuner.terminal.console import AddressOption, JsonOption, example, out, say

app = typer.Typer(rich_markup_mode="rich")


weights_app = typer.Typer(
    help="Pretrained weights: what is cached, and fetching more.", cls=PlainGroup
)
app.add_typer(weights_app, name="weights")


@weights_app.callback(invoke_without_command=True, epilog=example("weights fetch vgg16"))
def weights_list(context: typer.Context, json: JsonOption = False) -> None:
    """List pretrained weights and whether they are in the cache."""
    if context.invoked_subcommand:
        if json:
            raise InputError("--json: is of the list of weights, not of `fetch`; leave it out")
        return
    from rich.table import Table

    from nst_core.networks.weights import SOURCES, is_cached
    from tuner.results.as_json import dump

    here = {name: is_cached(name) for name in SOURCES}
    if json:
        print(dump({name: {"cached": there} for name, there in here.items()}))  # noqa: T201
        return
    table = Table("weights", "cached", "licence")
    for name, source in SOURCES.items():
        mark = "[green]yes[/]" if here[name] else "no"
        table.add_row(name, mark, source.licence)
    out.print(table)


@weights_app.command("fetch", cls=PlainCommand, epilog=example("weights fetch vgg16 alexnet"))
def weights_fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="default: what the demo needs", autocompletion=completion.weights),
    ] = None,
) -> None:
    """Fetch weights into the cache, verified."""
    from nst_core.networks.weights import check_name, get_weights

    wanted = names or ["vgg16", "alexnet", "lpips-alex"]
    for name in wanted:
        check_name(name)
    for name in wanted:
        get_weights(name, say=say)
        out.print(f"{name}: here", highlight=False)


@app.command(epilog=example("extractors vgg16"))
def extractors(
    name: Annotated[
        str | None,
        typer.Argument(help="a network, to list its layers", autocompletion=completion.networks),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the networks, or a network's layers with receptive field and cost."""
    from nst_core.errors import near_miss
    from nst_core.networks.layer_info import describe_network
    from nst_core.networks.registry import NETWORKS
    from tuner.results.as_json import dump
    from tuner.terminal.tables import layers_table, networks_table

    if name is not None and name not in NETWORKS:
        raise InputError(
            f"`{name}`: no such network{near_miss(name, NETWORKS)} ({', '.join(NETWORKS)})"
        )
    found = {key: describe_network(key) for key in ([name] if name else NETWORKS)}
    if json:
        print(dump({key: [vars(layer) for layer in layers] for key, layers in found.items()}))  # noqa: T201
    else:
        out.print(layers_table(NETWORKS[name], found[name]) if name else networks_table(found))


@app.command(epilog=example("spaces gram"))
def spaces(
    name: Annotated[
        str | None,
        typer.Argument(help="a space or a path to one", autocompletion=completion.spaces),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the search spaces, or draw one as a table; its JSON can begin a space file."""
    from search_spaces import CATALOGUE, space_to_dict
    from tuner.job.load import find_space
    from tuner.results.as_json import dump
    from tuner.terminal.tables import space_table, spaces_table

    chosen = find_space(name) if name else None
    if json:
        found = {key: space_to_dict(space) for key, space in CATALOGUE.items()}
        print(dump(space_to_dict(chosen) if chosen else found))  # noqa: T201
    else:
        out.print(space_table(chosen) if chosen else spaces_table(CATALOGUE))


@app.command(epilog=example("presets adam-1000"))
def presets(
    name: Annotated[
        str | None,
        typer.Argument(help="a preset or a path to one", autocompletion=completion.presets),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the built-in presets, or show one."""
    from rich.table import Table

    from nst_core.presets.built_in import BUILT_IN, load_preset
    from tuner.results.as_json import dump
    from tuner.terminal.tables import preset_table

    if name:
        preset = load_preset(name)
        if json:
            print(dump(preset.to_dict()))  # noqa: T201
        else:
            out.print(preset_table(preset))
        return
    if json:
        print(dump({preset.name: preset.description for preset in BUILT_IN.values()}))  # noqa: T201
        return
    table = Table("preset", "what it is")
    for preset in BUILT_IN.values():
        table.add_row(preset.name, preset.description)
    out.print(table)


@app.command(epilog=example("doctor runs/cafe"))
def doctor(
    run_dir: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="a run to check instead", autocompletion=completion.runs
        ),
    ] = None,
    address: AddressOption = None,
    json: JsonOption = False,
) -> None:
    """Check this machine (Python, torch, GPU, Ray, weights, disk, address), or a run."""
    from tuner.doctor.machine import check_machine
    from tuner.results.as_json import dump
    from tuner.study.early_checks import check_run as check_is_run

    if run_dir and address:
        raise InputError(
            "--address: is for a check of this machine, not of a run; give one of them"
        )
    if run_dir:
        check_is_run(run_dir)
        from tuner.doctor.run import check_run

        checks = check_run(run_dir)
    else:
        checks = check_machine(address)
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
