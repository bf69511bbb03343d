"""Which networks there are and what their layers are called. No torch here.

Layers carry the names of the papers (``conv4_2``, ``relu4_2``, ``pool4``); ``node`` maps each to
torchvision's module path, from which `nst_core.extractors` cuts the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nst_core.errors import near_miss


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network: its layers in forward order.

    Attributes:
        name: what configurations call it.
        node: layer name -> torchvision module path, in forward order.
    """

    name: str
    node: Mapping[str, str]

    @property
    def layers(self) -> tuple[str, ...]:
        """Layer names in forward order."""
        return tuple(self.node)

    def deepest(self, layers: Iterable[str]) -> str:
        """The one of ``layers`` that the forward pass reaches last."""
        order = {layer: i for i, layer in enumerate(self.node)}
        return max(layers, key=order.__getitem__)

    def problem_with(self, layer: str) -> str | None:
        """Why ``layer`` is not one of this network's, or None if it is."""
        if layer in self.node:
            return None
        hint = near_miss(layer, self.node)
        return f"`{layer}`: {self.name} has no such layer{hint} (it has {', '.join(self.node)})"


def _network(name: str, layers: Iterable[str]) -> Network:
    return Network(name=name, node={layer: f"features.{i}" for i, layer in enumerate(layers)})


def _vgg_layers(convs_per_block: tuple[int, ...]) -> Iterable[str]:
    """VGG as in Simonyan & Zisserman, arXiv 1409.1556, numbered as Gatys et al. number it."""
    for block, convs in enumerate(convs_per_block, start=1):
        for i in range(1, convs + 1):
            yield f"conv{block}_{i}"
            yield f"relu{block}_{i}"
        yield f"pool{block}"


#: AlexNet as torchvision has it (Krizhevsky 2014, arXiv 1404.5997).
_ALEXNET_LAYERS = (
    *("conv1", "relu1", "pool1", "conv2", "relu2", "pool2"),
    *("conv3", "relu3", "conv4", "relu4", "conv5", "relu5"),
)

NETWORKS: Mapping[str, Network] = {
    network.name: network
    for network in (
        _network("vgg16", _vgg_layers((2, 2, 3, 3, 3))),
        _network("vgg19", _vgg_layers((2, 2, 4, 4, 4))),
        _network("alexnet", _ALEXNET_LAYERS),
    )
}

#: Networks a stylization may use; AlexNet serves the LPIPS metric so far.
EXTRACTORS: tuple[str, ...] = ("vgg16", "vgg19")
