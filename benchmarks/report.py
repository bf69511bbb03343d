"""Size of the report page of a large run, and time until a browser has opened it.

Command: ``python -m benchmarks.report``. It needs Chromium or Google Chrome.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import skimage.data
import typer
from PIL import Image

from benchmarks.support.common import Goal, JsonOption, QuickOption, Row, Section, err, publish, run
from benchmarks.support.made_run import made_run
from nst_core.errors import InputError
from tuner.pages.report.page import write_report
from tuner.results.results import load_results

TRIALS, QUICK_TRIALS = 2_000, 200
SIZE_PX = 256
OPENED, QUICK_OPENED = 7, 3


def main(
    trials: Annotated[int | None, typer.Option(help="trials of the run")] = None,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Write the report of a large run and open it."""
    trials = trials or (QUICK_TRIALS if quick else TRIALS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        err.print(f"a run of {trials} trials")
        run_folder = made_run(folder / "run", _pictures(folder), trials=trials, size_px=SIZE_PX)
        err.print("its report")
        started = time.perf_counter()
        size = write_report(load_results(run_folder), folder / "report.html")
        written_s = time.perf_counter() - started
        err.print("opening it")
        opened_s = _opened_s(folder / "report.html", QUICK_OPENED if quick else OPENED)
    row: Row = {
        "trials": trials,
        "written, s": written_s,
        "MB": size / 1e6,
        "opened, s": median(opened_s),
        "slowest, s": max(opened_s),
    }
    publish(
        "A large report",
        f"Images of {SIZE_PX} px; opened from a file by Chromium until the first screen and the"
        " gallery are there. Plots are drawn when they come into view.",
        [Section(title="Report", rows=[row])],
        goals=[
            Goal(name="MB", value=size / 1e6, goal=25, at_most=True),
            Goal(name="seconds to open", value=median(opened_s), goal=2, at_most=True),
        ],
        json_file=json_file,
    )


def _pictures(folder: Path) -> Path:
    """Write a content image, a style image and a reference; return their folder."""
    photos = {
        "content": skimage.data.chelsea(),
        "style": skimage.data.coffee(),
        "reference": skimage.data.astronaut(),
    }
    for role, pixels in photos.items():
        picture = Image.fromarray(pixels).resize((SIZE_PX, 3 * SIZE_PX // 4))
        picture.save(folder / f"{role}.png")
    return folder


def _opened_s(page: Path, times: int) -> list[float]:
    """Return the seconds from a request until the page is ready, each time in a new tab."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise InputError(
            "this benchmark opens the report in Chromium, which was not found; install `chromium`"
            " or `google-chrome`"
        )
    seconds = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(times):
            tab = browser.new_page()
            started = time.perf_counter()
            tab.goto(page.as_uri())
            tab.wait_for_selector("html[data-ready=yes]")
            seconds.append(time.perf_counter() - started)
            tab.close()
        browser.close()
    return seconds


if __name__ == "__main__":
    run(main)
