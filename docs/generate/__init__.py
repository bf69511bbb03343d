"""Pages of the documentation that are generated from the code, so that they cannot go out of date.

``python -m docs.generate`` writes all of them; ``tests/test_docs.py`` compares them with the code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import commands, conversions, job_file, package_layers, settings

ROOT = Path(__file__).parents[2]

#: Return the whole text of each generated page. Paths are relative to the repository.
PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/job-file.md": job_file.to_markdown,
    "docs/reference/settings.md": settings.to_markdown,
    "docs/reference/commands.md": commands.to_markdown,
    "docs/reference/conversions.md": conversions.to_markdown,
    "docs/design.md": lambda: package_layers.with_picture(
        (ROOT / "docs/design.md").read_text("utf-8")
    ),
}


def write_all() -> None:
    """Write every generated page."""
    for name, to_markdown in PAGES.items():
        (ROOT / name).write_text(to_markdown(), encoding="utf-8")
