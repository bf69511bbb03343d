"""What the documents say is what the code does."""

from __future__ import annotations

import runpy
from pathlib import Path

from nst_core.public_engines import ENGINES, WITHOUT_CONVERSION

ROOT = Path(__file__).parents[1]


def test_the_table_of_conversions_is_up_to_date() -> None:
    """docs/conversions.md is what docs/conversions.py writes, and names every engine."""
    text = (ROOT / "docs" / "conversions.md").read_text(encoding="utf-8")
    assert text == runpy.run_path(str(ROOT / "docs" / "conversions.py"))["to_markdown"]()
    assert all(f"| {name} |" in text for name in ENGINES)
    assert all(name in text for name in WITHOUT_CONVERSION)
