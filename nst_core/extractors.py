"""Networks as functions from images to named features, cut after the deepest layer asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from nst_core.networks import NETWORKS

#: Per-channel mean and standard deviation with which pixels in [0, 1] enter a network.
NORMALIZATION_STATS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def bare_network(name: str) -> nn.Module:
    """Torchvision's network without its classifier, on the meta device (shapes, no memory)."""
    with torch.device("meta"):
        network: nn.Module = torchvision.models.get_model(name, weights=None)
    network.avgpool, network.classifier = nn.Identity(), nn.Identity()
    for module in network.modules():
        # In place, a ReLU would overwrite the convolution's features that a loss reads.
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return network


class Extractor(nn.Module):
    """Features of a batch of images at the named layers; frozen.

    Args:
        name: a key of `networks.NETWORKS`.
        layers: layer names to return; nothing after the deepest is computed.
        weights: as `weights.get_weights` returns them.

    Calling it with normalised pixels x_N3HW gives ``{layer: feat_NCHW}``.
    """

    def __init__(self, name: str, layers: Iterable[str], weights: Mapping[str, Tensor]):
        super().__init__()
        network = bare_network(name)
        network.load_state_dict(dict(weights), assign=True)
        node = NETWORKS[name].node
        self.body = create_feature_extractor(
            network.eval(), {node[layer]: layer for layer in layers}
        )
        self.requires_grad_(False)

    def forward(self, pixels_N3HW: Tensor) -> dict[str, Tensor]:
        """Features by layer name, feat_NCHW."""
        features: dict[str, Tensor] = self.body(pixels_N3HW)
        return features


def normalize(image_N3HW: Tensor, mean_N3: Tensor, std_N3: Tensor) -> Tensor:
    """(image - mean) / std per lane and channel, for `NORMALIZATION_STATS` stacked per lane."""
    return (image_N3HW - mean_N3[:, :, None, None]) / std_N3[:, :, None, None]
