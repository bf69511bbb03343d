"""Page: several runs side by side in one file, and a site of all runs of a folder."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from nst_core.errors import InputError, Say
from nst_core.files import write_atomic
from tuner.pages.comparison.comparison_data import comparison_data
from tuner.pages.report.album import embedded_pictures
from tuner.pages.report.page import (
    REPORT_PARTS,
    as_block,
    plotly_block,
    policy,
    render_template,
    script_of,
    write_report,
)
from tuner.results.preset_runs import best_preset_result
from tuner.results.results import Results, load_results
from tuner.study.run_dir import RunDir

#: Scripts of the report that the page uses, in their order.
_SHARED = ("1-base.js", "6-plots.js", "6-theme.js")
_PARTS = Path(__file__).parent / "page"
#: Longer side of a picture, and the limit for all of them.
PICTURE_PX, PICTURE_BYTES = 512, 12_000_000
#: Name of the first page of a site, and of the page of each run.
INDEX = "index.html"


def write_comparison(
    runs: Sequence[Results], out: Path, *, links: Sequence[str | None] | None = None
) -> int:
    """Write a page that compares runs and return its size in bytes.

    Args:
        runs: the results of the runs.
        out: the file to write.
        links: address of the report of each run, relative to ``out``.

    Raises:
        OSError: the file cannot be written.
    """
    from markupsafe import Markup

    names = run_names(runs)
    nonce = secrets.token_urlsafe(16)
    scripts = [REPORT_PARTS / name for name in _SHARED] + sorted(_PARTS.glob("*.js"))
    data = comparison_data(runs, names, links or [None] * len(runs))
    page = render_template(
        _PARTS,
        styles=[REPORT_PARTS, _PARTS],
        names=names,
        nonce=nonce,
        policy=policy(nonce, served=False),
        js=Markup(script_of(scripts)),
        page_data=as_block(data),
        pictures=as_block(_pictures(runs)),
        plotly=plotly_block(),
    )
    content = page.encode(errors="replace")
    write_atomic(out, content)
    return len(content)


def _pictures(runs: Sequence[Results]) -> dict[str, str]:
    """Return the pictures of all runs as key -> data URI, see `comparison_data`."""
    files: dict[str, Path] = {}
    for index, results in enumerate(runs):
        inside = results.run.path.resolve()
        inputs = {
            role: path
            for role, path in results.input_files(0).items()
            if path.resolve().is_relative_to(inside)
        }
        preset = best_preset_result(results)
        shown = {"best": results.ranked()[:1], "preset": [preset] if preset else []}
        inputs |= {role: results.picture(each[0], 0) for role, each in shown.items() if each}
        files |= {f"{index}-{role}": path for role, path in inputs.items()}
    return embedded_pictures(files, PICTURE_PX, PICTURE_BYTES)


def run_names(runs: Sequence[Results]) -> list[str]:
    """Return a name for each run: its job's; of equal ones with the folder, or a number."""
    names = [results.job.name for results in runs]
    with_folder = [f"{r.job.name} ({r.run.path.resolve().name})" for r in runs]
    names = [
        name if names.count(name) == 1 else longer
        for name, longer in zip(names, with_folder, strict=True)
    ]
    return [
        name if names.count(name) == 1 else f"{name}, run {index}"
        for index, name in enumerate(names, start=1)
    ]


def write_run_site(folder: Path, out: Path, say: Say) -> None:
    """Write a static site: a page that compares all runs of a folder, and a report of each.

    Args:
        folder: the folder; runs are found at any depth.
        out: the folder of the site; pages of an earlier call are replaced.
        say: receives a line about each page.

    Raises:
        InputError: the folder has no run, or ``out`` holds something else.
        RunError: a run is damaged.
    """
    paths = find_runs(folder)
    if not paths:
        raise InputError(
            f"{folder}: holds no run; expected a folder with run directories, which `nst-tuner"
            " launch JOB.yaml --run-dir DIR` makes"
        )
    if out.exists() and not (out / INDEX).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is not empty and no site; name a new folder for the site")
    runs = [load_results(path) for path in paths]
    links = [f"{place}/{INDEX}" for place in _places(folder, paths)]
    out.mkdir(parents=True, exist_ok=True)
    for results, link in zip(runs, links, strict=True):
        target = out / link
        target.parent.mkdir(parents=True, exist_ok=True)
        size = write_report(results, target)
        say(f"wrote {target} ({size / 1e6:.1f} MB)")
    size = write_comparison(runs, out / INDEX, links=links)
    say(f"wrote {out / INDEX} ({size / 1e6:.1f} MB), the first page of {len(runs)} runs")


def find_runs(folder: Path) -> list[Path]:
    """Return the run directories in a folder, at any depth, sorted by path; links are not followed.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a folder with run directories")
    found = []
    for place, folders, _ in os.walk(folder):
        folders.sort()
        if RunDir(Path(place)).is_run:
            found.append(Path(place))
            folders.clear()  # there are no runs within a run
    return found


def _places(folder: Path, paths: Sequence[Path]) -> list[str]:
    """Return a folder name for each run that is safe in an address, all different."""
    places: list[str] = []
    for path in paths:
        relative = path.relative_to(folder).as_posix()
        name = path.resolve().name if relative == "." else relative
        place = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
        unique = place
        while unique in places:
            unique = f"{place}-{len(places)}"
        places.append(unique)
    return places
