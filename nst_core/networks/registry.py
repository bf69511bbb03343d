"""Registry of networks and the names of their layers. This module does not load torch.

Layers have the names of the papers (``conv4_2``, ``relu4_2``, ``pool4``, ``layer1``); ``node`` maps
each to torchvision's module path. In this order the nodes are the forward pass of the network up to
its classifier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nst_core.errors import near_miss

#: License of the weights of all these networks.
WEIGHTS_LICENCE = (
    "torchvision (BSD-3-Clause); trained on ImageNet, so that terms of that dataset may apply"
)

#: License of weights in a user's file.
OWN_WEIGHTS_LICENCE = "a user's file; its author decides the license"

#: Average and L2 pooling give smaller values than max pooling. These factors restore the magnitude
#: of VGG's features. They are those of crowsonkb/style-transfer-pytorch, 2 and 0.78; its L2 pooling
#: takes the root of the sum, which is twice our root of the mean.
POOLING_GAIN: Mapping[str, float] = {"max": 1.0, "average": 2.0, "l2": 1.56}


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network and its layers.

    Attributes:
        name: name in configurations and in torchvision.
        node: layer name -> torchvision module path, in forward order.
        homogeneous: whether scaling the input and all biases by a factor scales all features by
            this factor. That is true for convolutions, ReLU and poolings, and false for batch
            normalization.
        content_layer: default layer of the content loss.
        style_layers: default layers of the style loss.
    """

    name: str
    node: Mapping[str, str]
    homogeneous: bool
    content_layer: str
    style_layers: tuple[str, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Layer names in forward order."""
        return tuple(self.node)

    def deepest(self, layers: Iterable[str]) -> str:
        """Return the layer of ``layers`` that the forward pass reaches last."""
        order = {layer: i for i, layer in enumerate(self.node)}
        return max(layers, key=order.__getitem__)

    def up_to(self, layer: str) -> Mapping[str, str]:
        """Return the nodes from the first one to ``layer``, inclusive."""
        last = self.layers.index(layer)
        return {name: self.node[name] for name in self.layers[: last + 1]}

    def problem_with(self, layer: str) -> str | None:
        """Return an error message if the network has no layer of this name, otherwise None."""
        if layer in self.node:
            return None
        hint = near_miss(layer, self.node)
        return f"`{layer}`: {self.name} has no such layer{hint} (it has {', '.join(self.node)})"


class Backbone(NamedTuple):
    """A network with its pooling and padding.

    Attributes:
        name: a key of `NETWORKS`.
        pooling: as in `StyleConfig`, or ``hann``, which only the metric DISTS uses.
        padding: as in `StyleConfig`.
    """

    name: str
    pooling: str = "max"
    padding: str = "zeros"


def _features(layers: Iterable[str]) -> dict[str, str]:
    return {layer: f"features.{i}" for i, layer in enumerate(layers)}


def _vgg_layers(convs_per_block: tuple[int, ...]) -> Iterable[str]:
    """Yield the layers of VGG (Simonyan & Zisserman, arXiv 1409.1556), named as by Gatys et al."""
    for block, convs in enumerate(convs_per_block, start=1):
        for i in range(1, convs + 1):
            yield f"conv{block}_{i}"
            yield f"relu{block}_{i}"
        yield f"pool{block}"


def _vgg(name: str, convs_per_block: tuple[int, ...]) -> Network:
    return Network(
        name=name,
        node=_features(_vgg_layers(convs_per_block)),
        homogeneous=True,
        content_layer="relu4_2",
        style_layers=("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
    )


#: He et al., arXiv 1512.03385. ``layer1`` is the output of the stage, ``layer1_1`` of its first
#: residual block.
_RESNET18_NODES = {
    **{"conv1": "conv1", "bn1": "bn1", "relu1": "relu", "pool1": "maxpool"},
    **{
        (f"layer{stage}" if block else f"layer{stage}_1"): f"layer{stage}.{block}"
        for stage in range(1, 5)
        for block in range(2)
    },
}

#: AlexNet as torchvision has it (Krizhevsky 2014, arXiv 1404.5997).
_ALEXNET_LAYERS = (
    *("conv1", "relu1", "pool1", "conv2", "relu2", "pool2"),
    *("conv3", "relu3", "conv4", "relu4", "conv5", "relu5"),
)

#: Iandola et al., arXiv 1602.07360, version 1.1.
_SQUEEZENET_LAYERS = (
    *("conv1", "relu1", "pool1", "fire2", "fire3", "pool3", "fire4", "fire5", "pool5"),
    *("fire6", "fire7", "fire8", "fire9"),
)

#: Sandler et al., arXiv 1801.04381: a convolution, 17 inverted residual blocks, a convolution.
_MOBILENET_LAYERS = ("conv1", *(f"block{i}" for i in range(1, 18)), "conv2")

NETWORKS: Mapping[str, Network] = {
    network.name: network
    for network in (
        _vgg("vgg16", (2, 2, 3, 3, 3)),
        _vgg("vgg19", (2, 2, 4, 4, 4)),
        Network(
            name="resnet18",
            node=_RESNET18_NODES,
            homogeneous=False,
            content_layer="layer1",
            style_layers=("conv1", "layer1", "layer2", "layer3"),
        ),
        Network(
            name="alexnet",
            node=_features(_ALEXNET_LAYERS),
            homogeneous=True,
            content_layer="relu3",
            style_layers=("relu1", "relu2", "relu3", "relu4", "relu5"),
        ),
        Network(
            name="mobilenet_v2",
            node=_features(_MOBILENET_LAYERS),
            homogeneous=False,
            content_layer="block4",
            style_layers=("conv1", "block2", "block4", "block7", "block11"),
        ),
        Network(
            name="squeezenet1_1",
            node=_features(_SQUEEZENET_LAYERS),
            homogeneous=True,
            content_layer="fire4",
            style_layers=("relu1", "fire2", "fire4", "fire6", "fire9"),
        ),
    )
}

#: Networks that a stylization may use. The metric LPIPS uses AlexNet, and DISTS uses VGG16: a
#: stylization with the network of its metric gets scores that are too good.
EXTRACTORS: tuple[str, ...] = tuple(NETWORKS)

#: Layers of AlexNet that LPIPS reads.
LPIPS_LAYERS = ("relu1", "relu2", "relu3", "relu4", "relu5")

#: Convolutions of ST-LPIPS's own network, as its authors named them -> shape of the filters: output
#: channels, input channels, height, width.
ST_LPIPS_CONVOLUTIONS: Mapping[str, tuple[int, int, int, int]] = {
    "net.slice1.0": (64, 3, 11, 11),
    "net.slice2.5": (192, 64, 5, 5),
    "net.slice3.9": (384, 192, 3, 3),
    "net.slice4.11": (256, 384, 3, 3),
    "net.slice5.13": (256, 256, 3, 3),
}

#: Tensors with the factors of the channels of ST-LPIPS's layers.
ST_LPIPS_FACTORS = tuple(f"lin{layer}.model.1.weight" for layer in range(5))

#: Layers of VGG16 that DISTS reads.
DISTS_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
