"""A real Chromium, headless, that tells what goes wrong in a page."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tuner.pages.site import Site

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

#: How long a page is waited for, in milliseconds: a small machine that runs other tests beside it
#: may take seconds for what is there at once on a desk.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)

#: What keeps it from talking to its makers, and lets root run it in a container.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Watched:
    """A page and everything that it complained of or asked others for."""

    def __init__(self, page: Page):
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda said: self._said(said.type, said.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda asked: self.requests.append(asked.url))
        page.on("dialog", lambda dialog: self.errors.append(f"a dialog: {dialog.message}"))

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.errors.append(text)

    def open(self, url: str) -> Page:
        """Go there and wait until the page is whole."""
        self.page.goto(url)
        self.page.wait_for_selector("html[data-ready=yes]")
        return self.page

    def plot(self, section: str) -> None:
        """Scroll through a section until all its plots are drawn."""
        for canvas in self.page.locator(f"{section} .canvas").all():
            canvas.scroll_into_view_if_needed()
            expect(canvas).to_have_class(re.compile("js-plotly-plot"))

    @property
    def left(self) -> list[str]:
        """Requests that left the page's own place."""
        own = self.page.url.rpartition("/")[0]
        known = ("data:", "blob:", own)
        return [url for url in self.requests if not url.startswith(known)]


@contextmanager
def chromium(width: int = 1280, height: int = 900, scheme: str = "light") -> Iterator[Watched]:
    """A page in a browser of its own."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
        size = {"width": width, "height": height}
        page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
        page.set_default_timeout(PATIENCE_MS)
        try:
            yield Watched(page)
        finally:
            browser.close()


@contextmanager
def served(site: Site) -> Iterator[str]:
    """A site under way."""
    thread = threading.Thread(target=site.serve, args=(lambda _: None,), kwargs={"show": False})
    thread.start()
    try:
        yield site.url
    finally:
        site.stop()
        thread.join()


def focus(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id"))


def title(page: Page) -> str:
    return page.locator("#dialog-title").inner_text()


def said(page: Page) -> str:
    return page.locator("#announcement").inner_text()
