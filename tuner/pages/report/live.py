"""LiveReport: the report on a local server, which follows a running run."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from nst_core.errors import InputError
from tuner.pages.local_server import Answer, Get, Site
from tuner.pages.report.album import Album
from tuner.pages.report.figures import report_figures
from tuner.pages.report.page import live_data, render_page
from tuner.results.results import Results, load_results
from tuner.study.command_words import outcome_json, parse
from tuner.study.commands import send, wait_for
from tuner.study.run_files import STUDY_FILE

#: Seconds for which results from a database are reused: a page requests dozens of pictures at once.
FRESH_S = 3.0
#: Seconds that the page waits until the search has carried out a command.
WAIT_S = 20.0


class LiveReport:
    """The report of a run, answering requests from the current state of the run.

    Args:
        folder: the run directory.

    Raises:
        RunError: the folder is no run directory, or it is damaged.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None
        self._loaded_s = time.monotonic()
        self._results = load_results(folder)

    def site(self, port: int = 0) -> Site:
        """Return the site that serves the report."""
        paths: dict[str, Get] = {
            "": self._page,
            "page_data.json": lambda _: Answer.json(live_data(self._current())),
            "figures.json": lambda _: Answer.json(report_figures(self._current())),
            "picture": lambda key: Album(self._current()).answer(key),
        }
        return Site(paths, {"ctl": self._control}, port=port)

    def _control(self, message: Any) -> Answer:
        """Send a command of the page to the search, as `nst-tuner ctl` does."""
        match message:
            case {"command": str(name), "arguments": [*words]} if all(
                isinstance(word, str) for word in words
            ):
                command = parse(name, words)
            case _:
                raise InputError("not a command: expected the keys command and arguments")
        command_id = send(self._folder, command)
        record = wait_for(self._folder, command_id, WAIT_S)
        return Answer.json(outcome_json(command_id, command, record))

    def _current(self) -> Results:
        """Return the current results; they are loaded again only if the study may have changed."""
        with self._lock:
            version = _version(self._folder / STUDY_FILE)
            now_s = time.monotonic()
            if version != self._version if version else now_s - self._loaded_s >= FRESH_S:
                self._results = load_results(self._folder)
                self._version, self._loaded_s = version, now_s
            return self._results

    def _page(self, rest: str) -> Answer | None:
        if rest:
            return None
        page, policy = render_page(live_data(self._current()))
        return Answer.html(page, policy)


def _version(path: Path) -> tuple[int, int] | None:
    """Return time and size of the study file; None for a study in a database, which has none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
