"""ONNX files: a trained network for any runtime, with everything that is known about it inside.

A file has three inputs: ``image`` [1, 3, height, width] in [0, 1], ``strength`` [1] and ``styles``
[1, number of styles]; and one output, ``result``, of the size of the image. Writing needs the extra
``distill``, reading only onnxruntime.
"""

from __future__ import annotations

import importlib.util
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nst_core.distill.networks import MAX_STRENGTH, MIN_SIDE_PX, MIN_STRENGTH, StyleNetwork
from nst_core.errors import InputError, WorkError, near_miss
from nst_core.files import read_limited, write_atomic, writing
from nst_core.images.colors import with_hues_of
from nst_core.images.encode import MADE_BY

#: Version of the operators: that of onnxruntime 1.17 and later, and of onnxruntime-web.
OPSET = 20

#: Largest difference of a pixel in [0, 1] between torch and onnxruntime.
TOLERANCE = 1e-3

#: Key of the JSON among the metadata of a file.
KEY = "nst-tuner-network"

#: Largest file that is read; a network has 1 to 7 MB.
MAX_BYTES = 256 * 2**20

INPUTS = ("image", "strength", "styles")
OUTPUT = "result"

_INSTALL = "pip install 'nst-tuner[distill]'"

#: Sizes at which a new file is compared with torch: small, odd and unlike the traced one.
_CHECKED_SIZES = ((MIN_SIDE_PX, MIN_SIDE_PX + 1), (64, 96), (93, 50))


def check_installed(packages: Sequence[str] = ("onnx", "onnxruntime", "onnxscript")) -> None:
    """Raise InputError unless the packages are installed; call it before long work."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"real-time networks need {' and '.join(missing)}, which is not installed; run:"
            f" {_INSTALL}"
        )


class Deployed(nn.Module):
    """A network as it is used: with the colors of the photo where its preset keeps them.

    Args:
        network: the trained network.
        keeps_colors: for each style whether the result has the hues of the photo.
    """

    keeps_K: Tensor

    def __init__(self, network: StyleNetwork, keeps_colors: Sequence[bool]):
        super().__init__()
        self.network = network
        self._any = any(keeps_colors)
        self.register_buffer("keeps_K", torch.tensor(keeps_colors, dtype=torch.float32))

    def forward(self, image_N3HW: Tensor, strength_N: Tensor, styles_NK: Tensor) -> Tensor:
        """Return the stylized pictures; see `StyleNetwork.forward`."""
        result: Tensor = self.network(image_N3HW, strength_N, styles_NK)
        if not self._any:
            return result
        share_N111 = (styles_NK * self.keeps_K).sum(1)[:, None, None, None]
        return torch.lerp(result, with_hues_of(result, image_N3HW), share_N111)


def export_program(deployed: Deployed) -> Any:
    """Return the network as a program of ``torch.export`` for one picture of any size."""
    side = torch.export.Dim.AUTO(min=MIN_SIDE_PX)
    network = deployed.cpu().float().eval()
    # Sides that are no multiples of 4 and differ from each other, so that nothing is specialized.
    inputs = (torch.rand(1, 3, 97, 130), torch.ones(1), _one_hot(0, network.network.styles))
    with torch.no_grad():
        return torch.export.export(network, inputs, dynamic_shapes=({2: side, 3: side}, None, None))


def save_program(program: Any, path: Path) -> None:
    """Write a program of ``torch.export``, which `torch.export.load` reads (``.pt2``).

    Raises:
        InputError: the file cannot be written.
    """
    content = io.BytesIO()
    with warnings.catch_warnings():
        # About constants that are views of others, whose place is the CPU here anyway.
        warnings.filterwarnings("ignore", "No complete tensor found", UserWarning)
        torch.export.save(program, content)
    with writing(path):
        write_atomic(path, content.getvalue())


def write_onnx(program: Any, path: Path, facts: Mapping[str, Any]) -> float:
    """Write an ONNX file, and compare it with torch in onnxruntime.

    Args:
        program: result of `export_program`.
        path: the new file.
        facts: metadata as plain JSON; see `OnnxNetwork`.

    Returns:
        The largest difference of a pixel.

    Raises:
        InputError: the extra is not installed, or the file cannot be written.
        WorkError: the file computes something else than torch; it is not written.
    """
    check_installed()
    exported: Any = torch.onnx.export(
        program,
        (),
        dynamo=True,
        opset_version=OPSET,
        input_names=INPUTS,
        output_names=[OUTPUT],
        verbose=False,
    )
    model = exported.model_proto
    model.producer_name = MADE_BY
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps({**facts, "opset": OPSET}, allow_nan=False)
    content = model.SerializeToString()
    difference = _difference(program, OnnxNetwork.from_bytes(content, str(path)))
    if difference > TOLERANCE:
        raise WorkError(
            f"{path}: pixels of onnxruntime and torch differ by {difference:.2g}, expected at most"
            f" {TOLERANCE:g}; the file was not written"
        )
    with writing(path):
        write_atomic(path, content)
    return difference


def _difference(program: Any, network: OnnxNetwork) -> float:
    generator = torch.Generator().manual_seed(0)
    module, count = program.module(), len(network.styles)
    largest = 0.0
    for index, (height, width) in enumerate(_CHECKED_SIZES):
        image_3HW = torch.rand(3, height, width, generator=generator)
        styles_1K = _one_hot(index % count, count)
        for strength in (MIN_STRENGTH, 1.0, MAX_STRENGTH):
            with torch.no_grad():
                expected = module(image_3HW[None], torch.tensor([strength]), styles_1K)[0]
            result = network(image_3HW, strength=strength, styles=styles_1K[0].tolist())
            largest = max(largest, float((result - expected).abs().max()))
    return largest


def _one_hot(index: int, count: int) -> Tensor:
    return torch.eye(count)[index : index + 1]


@dataclass(frozen=True, kw_only=True)
class OnnxNetwork:
    """A network of an ONNX file, computed by onnxruntime on the CPU.

    Attributes:
        facts: metadata of the file: ``styles`` (a list with ``name`` and ``preset`` of each),
            ``size_px`` of the training pictures, ``versions``, ``licenses`` and more.
        session: onnxruntime's session.
    """

    facts: Mapping[str, Any]
    session: Any

    @classmethod
    def load(cls, path: Path) -> OnnxNetwork:
        """Read a file that `write_onnx` wrote.

        Raises:
            InputError: onnxruntime is not installed, or the file is not such a network.
        """
        try:
            content = read_limited(path, MAX_BYTES)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read ({error.strerror or error}); expected a network of"
                " `nst-tuner distill`"
            ) from None
        return cls.from_bytes(content, str(path))

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> OnnxNetwork:
        """Like `load`, from the content of the file; ``source`` names it in messages."""
        check_installed(("onnxruntime",))
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        # By default onnxruntime uses all cores and pins its threads, which containers do not allow.
        options.intra_op_num_threads = torch.get_num_threads()
        # The memory arena would never release the memory of the largest picture.
        options.enable_cpu_mem_arena = False
        wanted = "expected an ONNX file of `nst-tuner distill`"
        try:
            session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            names = tuple(each.name for each in session.get_inputs())
            text = session.get_modelmeta().custom_metadata_map.get(KEY)
        except Exception:  # onnxruntime's exceptions have no common base
            raise InputError(f"{source}: not an ONNX file that can be used; {wanted}") from None
        if text is None or names != INPUTS:
            raise InputError(f"{source}: an ONNX file of another program; {wanted}")
        try:
            facts = json.loads(text)
            names_of_styles = [str(style["name"]) for style in facts["styles"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError(f"{source}: its metadata are damaged; {wanted}") from None
        if session.get_inputs()[2].shape != [1, len(names_of_styles)]:
            raise InputError(f"{source}: its metadata do not fit its inputs; {wanted}")
        return cls(facts=facts, session=session)

    @property
    def styles(self) -> list[str]:
        """Names of the styles."""
        return [str(style["name"]) for style in self.facts["styles"]]

    def shares(self, weights: Mapping[str, float]) -> list[float]:
        """Return the share of each style, with sum 1.

        Args:
            weights: style -> weight > 0; empty: the first style.

        Raises:
            InputError: there is no such style.
        """
        names = self.styles
        for name in weights:
            if name not in names:
                raise InputError(
                    f"--style {name}: the network has no such style{near_miss(name, names)}"
                    f" (it has {', '.join(names)})"
                )
        chosen = weights or {names[0]: 1.0}
        total = sum(chosen.values())
        return [chosen.get(name, 0.0) / total for name in names]

    def __call__(
        self, image_3HW: Tensor, *, strength: float = 1.0, styles: Sequence[float]
    ) -> Tensor:
        """Stylize a picture.

        Args:
            image_3HW: float RGB in [0, 1], sides of at least `MIN_SIDE_PX`.
            strength: style weight relative to the preset's, `MIN_STRENGTH` to `MAX_STRENGTH`.
            styles: share of each style, with sum 1.

        Returns:
            image_3HW, float32 in [0, 1], of the same size.

        Raises:
            InputError: the strength is out of range, or the picture is too small.
        """
        check_strength(strength)
        if min(image_3HW.shape[1:]) < MIN_SIDE_PX:
            raise InputError(
                f"a picture of {image_3HW.shape[2]}x{image_3HW.shape[1]} px: a network needs at"
                f" least {MIN_SIDE_PX} px on each side"
            )
        inputs = (
            image_3HW[None].float().contiguous().cpu().numpy(),
            np.array([strength], np.float32),
            np.array([styles], np.float32),
        )
        result: np.ndarray = self.session.run(None, dict(zip(INPUTS, inputs, strict=True)))[0]
        return torch.from_numpy(result[0]).clamp(0, 1)


def check_strength(strength: float) -> None:
    """Raise InputError unless networks are trained for this strength."""
    if not MIN_STRENGTH <= strength <= MAX_STRENGTH:
        raise InputError(
            f"--strength {strength:g}: expected {MIN_STRENGTH:g} to {MAX_STRENGTH:g} times the"
            " preset's style weight"
        )
