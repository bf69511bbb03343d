"""The measured quality of a network: JSON, pictures, a contact sheet and a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from torch import Tensor

from nst_core.distill.objective import NetworkStyle
from nst_core.distill.onnx_file import OnnxNetwork
from nst_core.distill.photos import Photo
from nst_core.distill.quality import PICTURES, Comparison, compare, summary
from nst_core.errors import Say
from nst_core.files import write_atomic, writing
from nst_core.images.tensors import save_image
from nst_core.losses.targets import FeatureStore
from nst_core.metrics.registry import METRICS
from nst_core.metrics.suite import MetricSuite
from tuner.results.contact_sheet import Cell, contact_sheet

#: Files of the quality in the folder of a training.
JSON, PAGE, SHEET, PICTURES_FOLDER = "quality.json", "quality.html", "quality.jpg", "pictures"

#: Columns of the tables before those of the metrics.
_COLUMNS = ("loss / optimization", "loss / untouched", "ms")

#: Letters of a photo's name that fit below its picture on the contact sheet.
_MOST_LETTERS = 26


def write_quality(
    network: OnnxNetwork,
    styles: Sequence[NetworkStyle],
    photos: Sequence[Photo],
    store: FeatureStore,
    suite: MetricSuite,
    folder: Path,
    *,
    on_done: Callable[[int, int], None],
    say: Say,
) -> dict[str, Any]:
    """Measure a network against the optimization, and write JSON, pictures, sheet and page.

    Args:
        network: the network.
        styles: its styles.
        photos: photos that it was not trained on.
        store: loss networks.
        suite: metrics.
        folder: where to write.
        on_done: gets the number of comparisons that are done, and that of all.
        say: gets a line about the page.

    Returns:
        The content of ``quality.json``: ``summary`` (means by style and picture) and ``rows``.

    Raises:
        InputError: a photo cannot be read, or a file cannot be written.
        WorkError: an optimization diverged.
    """
    shares = [network.shares({name: 1.0}) for name in network.styles]

    def stylize(image_3HW: Tensor, index: int) -> Tensor:
        return network(image_3HW, styles=shares[index])

    pictures = folder / PICTURES_FOLDER
    with writing(pictures):
        pictures.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = []
    cells: list[Cell] = []
    shown = []
    total = len(styles) * len(photos)
    on_done(0, total)
    for number, comparison in enumerate(compare(stylize, styles, photos, store, suite)):
        on_done(number + 1, total)
        rows += comparison.rows()
        files = _save(comparison, pictures, number)
        cells += _cells(comparison, files)
        shown.append((comparison, {name: path.name for name, path in files.items()}))
    content = {"facts": dict(network.facts), "summary": summary(rows), "rows": rows}
    _write(folder / JSON, json.dumps(content, indent=1, allow_nan=False) + "\n")
    save_sheet(cells, folder / SHEET)
    _write(folder / PAGE, _page(content, shown))
    say(f"wrote {folder / PAGE}")
    return content


def _write(path: Path, text: str) -> None:
    with writing(path):
        write_atomic(path, text.encode())


def _save(comparison: Comparison, folder: Path, number: int) -> dict[str, Path]:
    """Write the pictures of a comparison; return picture -> file."""
    files = {name: folder / f"{number:03d}-{name}.png" for name in PICTURES}
    for name, path in files.items():
        save_image(comparison.images[name], path)
    return files


def _cells(comparison: Comparison, files: Mapping[str, Path]) -> list[Cell]:
    losses, photo = comparison.losses, comparison.photo
    if len(photo) > _MOST_LETTERS:
        photo = photo[: _MOST_LETTERS - 1] + "…"
    titles = {name: f"{name}, {comparison.ms[name]:.0f} ms" for name in files} | {
        "untouched": photo
    }
    return [
        (f"{titles[name]}\n{losses[name] / losses['optimization']:.2f} x loss", path)
        for name, path in files.items()
    ]


def save_sheet(cells: Sequence[Cell], path: Path) -> None:
    """Write a contact sheet with one row for each photo and style."""
    with writing(path):
        contact_sheet(cells, columns=len(PICTURES)).save(path, quality=90)


def _page(content: Mapping[str, Any], shown: Sequence[tuple[Comparison, dict[str, str]]]) -> str:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template("quality.html.j2").render(
        content=content,
        shown=shown,
        columns=[*_COLUMNS, *(name for name in METRICS if name in content["rows"][0])],
        metrics=METRICS,
        pictures=PICTURES,
        folder=PICTURES_FOLDER,
    )
