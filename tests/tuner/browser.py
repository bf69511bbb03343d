"""A headless Chromium that records errors and requests of a page."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tuner.pages.local_server import Site

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

#: Milliseconds to wait for a page. A small machine that runs other tests at the same time is slow.
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)

#: No requests to Google, no crash in a container as root.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Watched:
    """A page with its errors, warnings, dialogs and requests."""

    def __init__(self, page: Page):
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self._log(message.type, message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", lambda dialog: self.errors.append(f"a dialog: {dialog.message}"))

    def _log(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.errors.append(text)

    def open(self, url: str) -> Page:
        """Open a page and wait until it is complete."""
        self.page.goto(url)
        self.page.wait_for_selector("html[data-ready=yes]")
        return self.page

    def plot(self, section: str) -> None:
        """Scroll through a section until all its plots are drawn."""
        for canvas in self.page.locator(f"{section} .canvas").all():
            canvas.scroll_into_view_if_needed()
            expect(canvas).to_have_class(re.compile("js-plotly-plot"))

    @property
    def foreign_requests(self) -> list[str]:
        """Addresses of requests to other places than the page's own folder."""
        own = self.page.url.rpartition("/")[0]
        allowed = ("data:", "blob:", own)
        return [url for url in self.requests if not url.startswith(allowed)]


@contextmanager
def chromium(width: int = 1280, height: int = 900, scheme: str = "light") -> Iterator[Watched]:
    """Open a page in a new browser."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
        size = {"width": width, "height": height}
        page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
        page.set_default_timeout(TIMEOUT_MS)
        try:
            yield Watched(page)
        finally:
            browser.close()


@contextmanager
def served(site: Site) -> Iterator[str]:
    """Serve a site and yield its address."""
    thread = threading.Thread(target=site.serve, args=(lambda _: None,), kwargs={"show": False})
    thread.start()
    try:
        yield site.url
    finally:
        site.stop()
        thread.join()


def focus(page: Page) -> str:
    """Return the id of the focused element."""
    return str(page.evaluate("document.activeElement.id"))


def title(page: Page) -> str:
    """Return the title of the open dialog."""
    return page.locator("#dialog-title").inner_text()


def announced(page: Page) -> str:
    """Return the text that was announced to screen readers last."""
    return page.locator("#announcement").inner_text()
