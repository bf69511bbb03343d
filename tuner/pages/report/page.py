"""Page: template, style, scripts, page data, pictures and Plotly, put together in one file."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nst_core.files import write_atomic
from tuner.pages.report.album import Album
from tuner.pages.report.figures import report_figures
from tuner.pages.report.page_data import report_data
from tuner.results.results import Results

#: Seconds between two requests of a served page for new data.
REFRESH_S = 5

REPORT_PARTS = Path(__file__).parent / "page"


def write_report(results: Results, out: Path) -> int:
    """Write the report of a run into one file and return its size in bytes.

    Raises:
        RunError: the run cannot be read.
        OSError: the file cannot be written.
    """
    page, _ = render_page(
        report_data(results),
        pictures=Album(results).embedded(),
        figures=report_figures(results),
    )
    content = page.encode(errors="replace")
    write_atomic(out, content)
    return len(content)


def live_data(results: Results) -> dict[str, Any]:
    """Return the page data for a served page, with a version that changes with the data."""
    data = {**report_data(results), "live": REFRESH_S}
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode())
    return {**data, "version": digest.hexdigest()[:16]}


def render_page(
    page_data: Mapping[str, Any], *, pictures: Any = None, figures: Any = None
) -> tuple[str, str]:
    """Return the page and its content security policy.

    Args:
        page_data: result of `report_data` or `live_data`.
        pictures: key -> data URI; None for a served page, which requests its pictures.
        figures: result of `report_figures`; None for a served page.
    """
    from markupsafe import Markup

    nonce = secrets.token_urlsafe(16)
    content_policy = policy(nonce, served=bool(page_data.get("live")))
    page = render_template(
        REPORT_PARTS,
        run=page_data["run"],
        summary=page_data["summary"],
        nonce=nonce,
        policy=content_policy,
        js=Markup(script_of(sorted(REPORT_PARTS.glob("*.js")))),
        page_data=as_block(page_data),
        pictures=as_block(pictures),
        figures=as_block(figures),
        plotly=plotly_block(),
    )
    return page, content_policy


def script_of(files: Sequence[Path]) -> str:
    """Return scripts as one script."""
    return "\n".join(["'use strict';", *(file.read_text(encoding="utf-8") for file in files)])


def plotly_block() -> Any:
    """Return Plotly as the content of a script element that the page unpacks."""
    from markupsafe import Markup

    return Markup(_plotly())


def render_template(folder: Path, *, styles: Sequence[Path] = (), **values: Any) -> str:
    """Return ``page.html.j2`` of a folder with the values and its ``page.css`` filled in.

    Args:
        folder: the folder of the template.
        styles: folders whose ``page.css`` the page has, in this order; by default that folder.
        values: variables of the template.
    """
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    texts = [(place / "page.css").read_text(encoding="utf-8") for place in styles or [folder]]
    css = Markup("".join(texts))
    templates = Environment(loader=FileSystemLoader(folder), autoescape=True)
    return templates.get_template("page.html.j2").render(css=css, **values)


def policy(nonce: str, *, served: bool) -> str:
    """Return a content security policy: only the page's own script runs, nothing else is loaded.

    Plotly writes style sheets while it draws, so styles cannot be bound to the nonce.

    Args:
        nonce: the nonce of the page's script.
        served: whether a server answers requests of the page; a file may request nothing.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            "style-src 'unsafe-inline'",
            "img-src data: blob: 'self'" if served else "img-src data: blob:",
            "connect-src 'self'" if served else "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def as_block(content: Any) -> Any:
    """Return JSON as markup that cannot end the script element around it."""
    from markupsafe import Markup

    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = text.encode(errors="backslashreplace").decode()  # see `Preset.to_json`
    return Markup(text.replace("<", "\\u003c"))


@cache
def _plotly() -> str:
    """Return Plotly's script, compressed and as base64: 2 MB instead of 5 MB."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
