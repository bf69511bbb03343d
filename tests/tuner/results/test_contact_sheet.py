"""Cells of the contact sheet of a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nst_core.config import StyleConfig
from tests.tuner.made_results import job, results, trial
from tuner.results import contact_sheet
from tuner.results.contact_sheet import Cell

STYLES = [{"image": "a.png", "weight": 3}, {"image": "b.png"}]
REGIONS = [{"image": "a.png", "weight": 3, "region": "m.png"}, {"image": "b.png"}]


@pytest.mark.parametrize(
    ("styles", "blend", "labels"),
    [
        ("s.png", None, ["style", ""]),
        (STYLES, None, ["style 1\n75%", "style 2\n25%"]),
        (STYLES, [1.0, 4.0], ["style 1\n20%", "style 2\n80%"]),
        (REGIONS, None, ["style 1\n100% of its region", "style 2\n100% of its region"]),
    ],
)
def test_the_sheet_shows_every_style_image(
    monkeypatch: pytest.MonkeyPatch, styles: Any, blend: list[float] | None, labels: list[str]
) -> None:
    """Every style image has a cell with its share, and rows with fewer images stay aligned."""
    pairs = [
        {"content": "c.png", "style": style, "reference": "r.png"} for style in (styles, STYLES)
    ]
    spec = job(pairs=pairs)
    record = trial(0, spec.goals, 0.5)
    config = StyleConfig.from_dict({**record.config, "style_blend": blend}).to_dict()
    sheet_cells: list[Cell] = []
    widths: list[int] = []

    def record_cells(cells: list[Cell], columns: int) -> None:
        sheet_cells.extend(cells)
        widths.append(columns)

    monkeypatch.setattr(contact_sheet, "contact_sheet", record_cells)
    contact_sheet.run_sheet(results(spec, [replace(record, config=config)]))
    assert [label for label, _ in sheet_cells[1:3]] == labels
    assert sheet_cells[1][1] == Path("run") / ("s.png" if styles == "s.png" else "a.png")
    assert sheet_cells[2][1] == (None if styles == "s.png" else Path("run/b.png"))
    rows = [sheet_cells[:5], sheet_cells[5:]]
    assert widths == [5] and [row[3][0] for row in rows] == ["reference", "reference"]


def test_a_cell_without_a_picture_is_white() -> None:
    """A cell without a picture leaves its place white."""
    sheet = contact_sheet.contact_sheet([("", None), ("", None)], columns=2)
    assert sheet.getextrema() == ((255, 255),) * 3
