"""Protocol: what a stylizer in Python has to implement.

A stylizer that changes the colors of the content:

    class Tint:
        def open(self, content, styles, size_px, device):
            return TintSession(content, styles[0].mean(axis=(0, 1)))

    class TintSession:
        def __init__(self, content, color):
            self.content, self.color = content, color

        def start(self, params, seed):
            mixed = (1 - params["strength"]) * self.content + params["strength"] * self.color
            yield 1, mixed.round().astype("uint8")

A job names it as ``stylizer: {path: tint.py:Tint}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

#: A picture: uint8 of shape [height, width, 3], sRGB.
Picture: TypeAlias = np.ndarray
#: Parameter -> value: a number, or an option of a choice as text.
Params: TypeAlias = Mapping[str, float | int | str]


class Session(Protocol):
    """A stylizer with the pictures of one pair. It is kept between trials."""

    def start(self, params: Params, seed: int) -> Iterator[Any]:
        """Return an iterator of ``(step, picture)``, or ``(step, picture, cost)``.

        Steps ascend. A picture has the size of the content. With several pictures, trials are
        compared at steps and bad ones stop early: whatever is not requested is not computed.

        Args:
            params: the parameters of a trial, and the ``fixed`` values of the search space.
            seed: seed of everything random: equal seeds should give equal pictures.
        """
        ...


class Stylizer(Protocol):
    """Makes sessions. It is created once for each worker process, so it may hold models."""

    def open(
        self, content: Picture, styles: Sequence[Picture], size_px: int, device: str
    ) -> Session:
        """Return a session for one pair.

        Args:
            content: the content image, of the size that results must have.
            styles: style images of any sizes, at most twice as large as results.
            size_px: longer side of the results.
            device: where to compute: ``cpu``, ``cuda`` or ``cuda:N``.
        """
        ...


class StylizerError(Exception):
    """A stylizer cannot make a picture; the message is all that people need to know."""
