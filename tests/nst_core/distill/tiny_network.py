"""A network of seven convolutions, whose export takes a few seconds instead of many."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import torch

from nst_core.distill import networks
from nst_core.distill.networks import StyleNetwork
from nst_core.distill.onnx_file import Deployed, export_program, write_onnx

_TINY = (
    networks._Widths(full=4, half=4, quarter=4, blocks=1),
    networks._Residual,
    networks._Conv,
    3,
)


def tiny_network(styles: int = 2) -> StyleNetwork:
    """Return a network with random parameters, whose results differ from the picture."""
    with mock.patch.dict(networks._KINDS, {"tiny": _TINY}):
        network = StyleNetwork("tiny", styles)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def write_tiny(path: Path, *, keeps_colors: bool = False) -> StyleNetwork:
    """Write a network with the styles ``cafe`` and ``waves`` as an ONNX file; return it."""
    network = tiny_network()
    facts = {"styles": [{"name": "cafe"}, {"name": "waves"}], "size_px": 32, "network": "tiny"}
    write_onnx(export_program(Deployed(network, [False, keeps_colors])), path, facts)
    return network
