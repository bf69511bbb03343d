"""The report as one file: template, style, script, facts, pictures and Plotly put together."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from nst_core.files import write_atomic
from tuner.pages.report.album import Album
from tuner.pages.report.facts import report_facts
from tuner.pages.report.figures import report_figures
from tuner.results.results import Results

#: How often a page that is served looks for news.
LOOK_S = 5

_PARTS = Path(__file__).parent / "page"


def write_report(results: Results, out: Path) -> int:
    """Write the report of a run into one file; returns its bytes.

    Raises:
        RunError: the run cannot be read.
        OSError: the file cannot be written.
    """
    page, _ = render_page(
        report_facts(results),
        pictures=Album(results).embedded(),
        figures=report_figures(results),
    )
    content = page.encode(errors="replace")
    write_atomic(out, content)
    return len(content)


def live_facts(results: Results) -> dict[str, Any]:
    """Facts of a page that is served, with the version by which it knows that there is news."""
    facts = {**report_facts(results), "live": LOOK_S}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    return {**facts, "version": digest.hexdigest()[:16]}


def render_page(
    facts: Mapping[str, Any], *, pictures: Any = None, figures: Any = None
) -> tuple[str, str]:
    """The page and its content security policy; one that is served fetches its pictures."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    nonce = secrets.token_urlsafe(16)
    templates = Environment(loader=FileSystemLoader(_PARTS), autoescape=True)
    scripts = sorted(_PARTS.glob("*.js"))
    own = policy(nonce, served=bool(facts.get("live")))
    page = templates.get_template("page.html.j2").render(
        run=facts["run"],
        summary=facts["summary"],
        nonce=nonce,
        policy=own,
        css=Markup((_PARTS / "page.css").read_text(encoding="utf-8")),
        js=Markup("\n".join(["'use strict';", *(p.read_text(encoding="utf-8") for p in scripts)])),
        facts=as_block(facts),
        pictures=as_block(pictures),
        figures=as_block(figures),
        plotly=Markup(_plotly()),
    )
    return page, own


def policy(nonce: str, *, served: bool) -> str:
    """What the page may load and run: its own script, pictures that it carries, nothing else.

    Plotly writes style sheets as it goes, so styles are not bound to the nonce.
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
    """JSON that cannot end the script element it stands in."""
    from markupsafe import Markup

    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = text.encode(errors="backslashreplace").decode()  # see `Preset.to_json`
    return Markup(text.replace("<", "\\u003c"))


@cache
def _plotly() -> str:
    """Plotly's script, packed: 2 MB instead of 5."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
