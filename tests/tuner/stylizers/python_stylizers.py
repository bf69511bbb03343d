"""Stylizers in Python for tests; they need no network."""

import os
import time
from pathlib import Path

import numpy as np


class Session:
    def __init__(self, content, styles):
        self.content, self.color = content, styles[0].mean(axis=(0, 1))

    def mixed(self, share):
        return ((1 - share) * self.content + share * self.color).round().astype(np.uint8)


class Tint:
    """One picture; ``strength`` is the share of the style's mean color."""

    def open(self, content, styles, size_px, device):
        return TintSession(content, styles)


class TintSession(Session):
    def start(self, params, seed):
        yield 1, self.mixed(params["strength"]), 2.5 * params["strength"]


class Slow:
    """A picture every two steps, up to step 20; higher ``rate``, faster change."""

    def open(self, content, styles, size_px, device):
        return SlowSession(content, styles)


class SlowSession(Session):
    def start(self, params, seed):
        for step in range(2, 21, 2):
            yield step, self.mixed(min(1.0, params["rate"] * step))


class Awkward:
    """What it does wrong is the parameter ``what``."""

    def open(self, content, styles, size_px, device):
        return AwkwardSession(content, styles)


class AwkwardSession(Session):
    def start(self, params, seed):
        what = params["what"]
        if what == "none":
            return
        if what == "raises":
            raise ValueError("no such thing\nas this")
        if what == "exits":
            os._exit(7)
        if what == "quits":
            raise SystemExit(3)
        if what == "outside":
            Path(params["file"]).write_text("mine")
        if what == "hangs":
            time.sleep(1000)
        yield {
            "floats": (1, self.content / 255.0),
            "wide": (1, np.concatenate([self.content, self.content], axis=1)),
            "word": "picture",
            "back": (0, self.content),
            "cost": (1, self.content, "cheap"),
        }[what]


NOT_A_STYLIZER = 5


def number():
    """Return no stylizer."""
    return NOT_A_STYLIZER
