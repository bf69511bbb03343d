"""The report on loopback, up to date while the run goes on."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tuner.pages.report.album import Album
from tuner.pages.report.figures import report_figures
from tuner.pages.report.page import live_facts, render_page
from tuner.pages.site import Answer, Get, Site
from tuner.results.results import Results, load_results
from tuner.study.run_files import STUDY_FILE

#: What was read from a database is taken for so long: a page asks for dozens of pictures at once.
FRESH_S = 3.0


class LiveReport:
    """Answers what the page asks for, from the run as it is.

    Args:
        folder: the run directory.

    Raises:
        RunError: it is none.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._read_s = time.monotonic()
        self._results = load_results(folder)

    def site(self, port: int = 0) -> Site:
        """The site that it is."""
        paths: dict[str, Get] = {
            "": self._page,
            "facts.json": lambda _: Answer.json(live_facts(self._now())),
            "figures.json": lambda _: Answer.json(report_figures(self._now())),
            "picture": self._picture,
        }
        return Site(paths, port=port)

    def _now(self) -> Results:
        """The run as it is, or was a moment ago; read again only if something may be new."""
        with self._lock:
            version = _version(self._folder / STUDY_FILE)
            now_s = time.monotonic()
            if version != self._seen if version else now_s - self._read_s >= FRESH_S:
                self._results = load_results(self._folder)
                self._seen, self._read_s = version, now_s
            return self._results

    def _page(self, rest: str) -> Answer | None:
        if rest:
            return None
        page, policy = render_page(live_facts(self._now()))
        return Answer(
            content=page.encode(errors="replace"), kind="text/html; charset=utf-8", policy=policy
        )

    def _picture(self, key: str) -> Answer | None:
        return Album(self._now()).answer(key)


def _version(path: Path) -> tuple[int, int] | None:
    """Changes with every record; None for a study in a database, which has no file."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size
