"""ST-LPIPS: LPIPS with a network whose features hardly change if a detail moves by some pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nst_core.metrics.lpips_dists import unit_features, weighted_distance
from nst_core.metrics.measure import Features, Measure, pixels
from nst_core.networks.extractors import Normalizer
from nst_core.networks.registry import ST_LPIPS_CONVOLUTIONS, ST_LPIPS_FACTORS
from nst_core.networks.weights import Weights
from nst_core.networks.winograd import WinogradConv

#: Padding of the five convolutions, as in AlexNet.
PADDING = (2, 2, 1, 1, 1)


class StLpips(Measure):
    """Shift-tolerant LPIPS of Ghildyal and Liu (ECCV 2022, arXiv 2207.13686), AlexNet variant.

    The distance is 0 for equal images and about 0.6 to 0.9 for unrelated ones.

    AlexNet computes its first convolution only at every fourth pixel. Its features therefore change
    if a brush stroke moves by one or two pixels, and LPIPS counts the stroke as wrong although it
    looks the same (aliasing). The network of ST-LPIPS has convolutions of the same sizes with other
    weights, but computes the first one at every pixel and blurs before each of three halvings.

    Args:
        weights: weights of ``stlpips-alex``: network, and one non-negative factor per channel and
            layer.
        device: where to compute.
    """

    def __init__(self, weights: Weights, device: torch.device | str = "cpu"):
        super().__init__(device)
        on_device = {name: value.to(self.device) for name, value in weights.items()}
        self._convolutions = [
            _convolution(on_device[f"{name}.weight"], on_device[f"{name}.bias"], padding)
            for name, padding in zip(ST_LPIPS_CONVOLUTIONS, PADDING, strict=True)
        ]
        self._factors = [on_device[name].flatten() for name in ST_LPIPS_FACTORS]
        one_way = torch.tensor((0.25, 0.5, 0.25), device=self.device)
        self._blur_33 = torch.outer(one_way, one_way)
        self._normalize = Normalizer(["imagenet"], torch.empty(0, device=self.device))

    def _features(self, level_N3HW: Tensor) -> Features:
        """Return unit_NCHW of each layer: features scaled to unit vectors over the channels."""
        normalized_N3HW = self._normalize(pixels(level_N3HW))
        # With channels last, the blurs take a quarter of the time on a CPU.
        normalized_N3HW = normalized_N3HW.contiguous(memory_format=torch.channels_last)
        return unit_features(self._layers(normalized_N3HW))

    def _layers(self, value_N3HW: Tensor) -> Features:
        """Return feat_NCHW of the five layers: after each convolution's ReLU."""
        first, second, third, fourth, fifth = self._convolutions
        # The order matters: the first blur comes before the ReLU, the others after a max pooling.
        features = [F.relu(self._blurred_half(first(value_N3HW)))]
        for convolution in (second, third):
            pooled = F.max_pool2d(features[-1], 3, stride=1)
            features.append(F.relu(convolution(self._blurred_half(pooled))))
        for convolution in (fourth, fifth):
            features.append(F.relu(convolution(features[-1])))
        return features

    def _blurred_half(self, feat_NCHW: Tensor) -> Tensor:
        """Return every second place of features blurred by (1, 2, 1) / 4 both ways.

        Two places beyond each border are mirrored, so half of a side gets one or two places more.
        """
        channels = feat_NCHW.shape[1]
        padded = F.pad(feat_NCHW, (2, 2, 2, 2), mode="reflect")
        kernel = self._blur_33.expand(channels, 1, 3, 3)
        return F.conv2d(padded, kernel, stride=2, groups=channels)

    def _compare(self, images: Features, reference: Features) -> Tensor:
        return weighted_distance(images, reference, self._factors)


def _convolution(weight_KCHW: Tensor, bias_K: Tensor, padding: int) -> nn.Module:
    """Return a frozen convolution, by Winograd's method where it is suited."""
    filters, channels, side, _ = weight_KCHW.shape
    with torch.device("meta"):
        convolution = nn.Conv2d(channels, filters, side, padding=padding)
    state = {"weight": weight_KCHW, "bias": bias_K}
    convolution.load_state_dict(state, assign=True)
    convolution.requires_grad_(False)
    return WinogradConv(convolution) if WinogradConv.suits(convolution) else convolution
