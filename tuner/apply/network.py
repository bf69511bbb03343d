"""Apply a real-time network of an ONNX file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nst_core.errors import InputError, Say
from nst_core.images.encode import MADE_BY, check_writable_image
from nst_core.output_files import check_outputs, save_elsewhere

if TYPE_CHECKING:  # torch takes seconds to load, and checking options does not need it
    from torch import Tensor

    from nst_core.distill.onnx_file import OnnxNetwork
    from tuner.apply.folder import Work

#: Key of a text in each result: the network's metadata.
NETWORK_KEY = "nst-tuner-network"

#: Bytes that onnxruntime needs for each pixel: measured 540 to 620 (mobile) and 780 (small).
_BYTES_PER_PIXEL = 800


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """A network and how it is applied.

    Attributes:
        network: the opened file.
        digest: hash of the file.
        strength: style weight relative to the preset's.
        shares: share of each of the network's styles.
        size_px: longer side of the result in pixels; None: that of the picture.
    """

    network: OnnxNetwork
    digest: str
    strength: float
    shares: tuple[float, ...]
    size_px: int | None

    @classmethod
    def load(
        cls, path: Path, *, strength: float, styles: Sequence[str], size_px: int | None
    ) -> NetworkSettings:
        """Open a network.

        Args:
            path: ONNX file of `nst-tuner distill`.
            strength: style weight relative to the preset's.
            styles: names of the network's styles, each as ``NAME[:WEIGHT]``; none: the first style.
            size_px: longer side of the result in pixels; None: that of the picture.

        Raises:
            InputError: the file is not such a network, or an option does not fit it.
        """
        from nst_core.distill.onnx_file import OnnxNetwork, check_strength
        from tuner.apply.picture_files import file_digest

        check_strength(strength)
        weights = _style_weights(styles)
        network = OnnxNetwork.load(path)
        return cls(
            network=network,
            digest=file_digest(path),
            strength=strength,
            shares=tuple(network.shares(weights)),
            size_px=size_px,
        )

    @property
    def text(self) -> dict[str, str]:
        """Text chunks of a result."""
        facts = {"strength": self.strength, "shares": self.shares, **self.network.facts}
        return {"Software": MADE_BY, NETWORK_KEY: json.dumps(facts)}

    def apply(self, content_3HW: Tensor) -> Tensor:
        """Return the result of a picture, image_3HW in [0, 1].

        Raises:
            InputError: the picture is too narrow, or the network does not fit into memory.
        """
        from nst_core.images.tensors import resize_longer_side

        if self.size_px is not None:
            content_3HW = resize_longer_side(content_3HW, self.size_px)
        self._check_memory(*content_3HW.shape[1:])
        return self.network(content_3HW, strength=self.strength, styles=self.shares)

    def _check_memory(self, height: int, width: int) -> None:
        import torch

        from nst_core.lanes.memory import GIB, free_bytes

        needed, free = _BYTES_PER_PIXEL * height * width, free_bytes(torch.device("cpu"))
        if needed > free:
            largest = int(max(height, width) * (free / needed) ** 0.5)
            raise InputError(
                f"{width}x{height} px: the network needs about {needed / GIB:.1f} GiB, but"
                f" {free / GIB:.1f} GiB are free; --size-px {largest} would fit"
            )


def _style_weights(styles: Sequence[str]) -> dict[str, float]:
    """Return name -> weight of texts like ``NAME:2``."""
    weights: dict[str, float] = {}
    for text in styles:
        name, colon, number = text.rpartition(":")
        try:
            weight = float(number) if colon else 1.0
        except ValueError:
            weight = 0.0
        if not 0 < weight <= 1e6:
            raise InputError(f"--style {text}: expected NAME or NAME:WEIGHT with a weight above 0")
        name = name if colon else text
        if name in weights:
            raise InputError(f"--style {text}: the style {name} is given twice; give it once")
        weights[name] = weight
    return weights


def apply_network(
    settings: NetworkSettings,
    content: Path,
    out: Path,
    *,
    read: Sequence[Path],
    bits: int,
    keep_alpha: bool,
    force: bool,
    say: Say,
) -> None:
    """Stylize one picture by a network, and save the result.

    Args:
        settings: the network and how it is applied.
        content: picture file.
        out: file of the result.
        read: further files that must not be overwritten.
        bits: bits per channel of the result.
        keep_alpha: give the result the transparency of the content.
        force: replace a file that nst-tuner did not make.
        say: gets a line about the file.

    Raises:
        InputError: a file cannot be read or written, or the picture is too small.
    """
    from nst_core.images.tensors import encode_image, load_with_alpha

    check_writable_image(out, bits=bits, alpha=keep_alpha)
    check_outputs([("--out", out)], [content, *read], force=force, say=say)
    content_3HW, alpha = load_with_alpha(content)
    image = settings.apply(content_3HW)
    if keep_alpha and alpha is None:
        say(f"--keep-alpha: {content} has no transparency, so the result has none")
    alpha = alpha if keep_alpha else None
    save_elsewhere(out, encode_image(image, out, settings.text, bits=bits, alpha_1HW=alpha))
    say(f"wrote {out} ({image.shape[2]}x{image.shape[1]})")


def network_work(settings: NetworkSettings) -> Work:
    """Return how a network is applied to many pictures, for `several.make_several`."""
    from tuner.apply.folder import Work, one_by_one

    parts = [settings.digest, settings.strength, settings.shares, settings.size_px]
    return Work(
        stylize=partial(one_by_one, settings.apply),
        fingerprint=hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32],
        text=settings.text,
        size_px=settings.size_px or int(settings.network.facts.get("size_px", 512)),
    )
