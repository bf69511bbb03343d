import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nst_core.networks.extractors import Extractor, bare_network
from nst_core.networks.layer_info import COST_SIDE_PX, describe_network
from nst_core.networks.registry import EXTRACTORS, NETWORKS, Backbone


@pytest.mark.parametrize("name", EXTRACTORS)
def test_receptive_fields_are_what_gradients_see(name: str) -> None:
    """A feature depends on a square of pixels with the side `receptive_field_px`."""
    network = bare_network(name).to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1e-2)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    # An average lets every pixel of its window count, where a maximum picks one; ReLU6 saturates.
    backbone = Backbone(name, "average")
    layers = NETWORKS[name].style_layers[:4]
    # In float64 convolutions are direct, and what is not seen is exactly zero.
    extractor = Extractor(backbone, layers, network.double().state_dict())
    info = {found.layer: found for found in describe_network(name)}
    for layer in layers:
        pixels = torch.full((1, 3, 224, 224), 1e-4, dtype=torch.float64, requires_grad=True)
        feat = extractor(pixels)[layer]
        _, channels, height, width = feat.shape
        # The last channel: the first ones of a Fire come from its 1x1 convolutions.
        feat[0, -1, height // 2, width // 2].backward()
        assert pixels.grad is not None
        seen = pixels.grad[0].abs().sum(0)
        columns = torch.nonzero(seen.amax(0)).flatten()
        assert columns[-1] - columns[0] + 1 == info[layer].receptive_field_px
        assert channels == info[layer].channels
        assert height == pytest.approx(224 / info[layer].stride, abs=2)  # some pad, some do not


def test_vggs_published_figures() -> None:
    """VGG16 has its published receptive field and cost: 30.8 GFLOP at 224 px, 40 at 256."""
    info = {found.layer: found for found in describe_network("vgg16")}
    assert info["relu5_3"].receptive_field_px == 196
    assert info["relu4_2"].channels == 512
    assert info["pool5"].gflop == pytest.approx(40, rel=0.02)
    costs = [found.gflop for found in info.values()]
    assert costs == sorted(costs)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_layers_are_those_of_torchvision(name: str) -> None:
    """Channels and costs equal those of torchvision's networks."""
    network = bare_network(name)
    value = torch.empty(1, 3, COST_SIDE_PX, COST_SIDE_PX, device="meta")
    flop = 0
    infos = describe_network(name)
    for info, (layer, path) in zip(infos, NETWORKS[name].node.items(), strict=True):
        with FlopCounterMode(display=False) as counter:
            value = network.get_submodule(path)(value)
        flop += counter.get_total_flops()
        assert (info.layer, info.channels, info.gflop) == (layer, value.shape[1], flop / 1e9)
