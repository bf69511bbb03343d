"""The templates beside this file, which are Python and become Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def rendered(template: str, **values: Any) -> str:
    """A template filled in; every text must go in as a literal or by `in_docstring`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,  # it is no HTML
    )
    return templates.get_template(template).render(**values)


def in_docstring(text: str) -> str:
    """Text that stands in a docstring: whatever it holds, it does not end it."""
    return text.replace("\\", "/").replace('"""', "'''")
