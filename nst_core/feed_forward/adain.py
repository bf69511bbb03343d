"""AdaIN: stylization in one pass, with weight files from the user.

Huang & Belongie, "Arbitrary style transfer in real-time with adaptive instance normalization" (ICCV
2017, arXiv 1703.06868): VGG19 up to relu4_1 encodes content and style, each channel of the content
gets the mean and standard deviation of the style's, and a decoder returns pixels. The weight files
are those of the project naoto0804/pytorch-AdaIN: ``vgg_normalised.pth``, a normalized VGG19 behind
a 1x1 convolution that takes RGB in [0, 1], and ``decoder.pth``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from nst_core.feed_forward.magenta import Styles, blend_shares, check_pictures, check_share
from nst_core.networks.tensor_files import read_tensors, select_tensors

#: Added to the variance; the published decoder was trained with this value.
EPS = 1e-5

# Channels of the convolutions between two changes of the size. The tensors in the files are
# numbered by layer. The encoder's file continues to relu5_4, which is not used.
_ENCODER_WIDTHS = ((64, 64), (128, 128), (256, 256, 256, 256), (512,))
_DECODER_WIDTHS = ((256,), (256, 256, 256, 128), (128, 64), (64, 3))


@dataclass(frozen=True, kw_only=True)
class Adain:
    """Encoder and decoder; call an instance to stylize.

    Attributes:
        encoder: pixels_N3HW in [0, 1] -> feat_N512hw; h and w are an eighth of H and W, rounded up.
        decoder: feat_N512hw -> pixels_N3(8h)(8w), approximately in [0, 1].
    """

    encoder: nn.Sequential
    decoder: nn.Sequential

    @classmethod
    def load(cls, encoder: Path, decoder: Path, *, device: torch.device | str = "cpu") -> Adain:
        """Load each network from a ``.safetensors`` or ``.pth`` file to ``device``.

        Raises:
            WeightsError: a file is missing or unreadable, or lacks tensors (the error lists them).
        """
        return cls(
            encoder=_load("encoder", _encoder, Path(encoder), device),
            decoder=_load("decoder", _decoder, Path(decoder), device),
        )

    @torch.no_grad()
    def __call__(self, content_3HW: Tensor, styles: Styles, *, alpha: float = 1.0) -> Tensor:
        """Stylize the content with a blend of the styles: equations 14 and 15 of the paper.

        The size of a style image determines the size of the strokes; the weights were trained with
        images whose shorter side has 512 pixels.

        Args:
            content_3HW: float RGB in [0, 1], sides of at least `magenta.MIN_SIDE_PX`.
            styles: images like the content, of any sizes, and weights >= 0, which are scaled to
                sum 1; the transformed features are averaged with these weights.
            alpha: share of the transformed features in [0, 1]; the rest are content features.

        Returns:
            image_3HW, float32 in [0, 1], of the content's size and on its device.

        Raises:
            InputError: an argument is out of range.
        """
        check_pictures([content_3HW, *(image for image, _ in styles)])
        check_share("alpha", alpha)
        shares = blend_shares([weight for _, weight in styles])
        feat = self._encode(content_3HW)
        mixed = (1 - alpha) * feat
        for share, (image, _) in zip(shares, styles, strict=True):
            mixed += alpha * share * adaptive_instance_norm(feat, self._encode(image))
        _, height, width = content_3HW.shape
        # The poolings round sizes up, so that the result may have extra rows and columns.
        painted: Tensor = self.decoder(mixed)[0, :, :height, :width]
        return painted.clamp(0, 1).contiguous().to(content_3HW.device)

    def _encode(self, image_3HW: Tensor) -> Tensor:
        device = next(self.encoder.parameters()).device
        feat: Tensor = self.encoder(image_3HW[None].to(device, torch.float32))
        return feat


def adaptive_instance_norm(content_NCHW: Tensor, style_NChw: Tensor) -> Tensor:
    """Return the content's features with the mean and deviation of the style's, per channel.

    Equation 8 of Huang & Belongie (arXiv 1703.06868). The result has the content's shape.
    """
    content_mean, content_std = channel_stats(content_NCHW)
    style_mean, style_std = channel_stats(style_NChw)
    return (content_NCHW - content_mean) / content_std * style_std + style_mean


def channel_stats(feat_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel over its pixels, both [N, C, 1, 1].

    Equations 5 and 6 of Huang & Belongie (arXiv 1703.06868): the variance of the population plus
    `EPS`, so that a constant channel can be divided by its deviation. The project that publishes
    the weights divides by the number of pixels minus one, which nearly cancels out in
    `adaptive_instance_norm`.
    """
    variance, mean = torch.var_mean(feat_NCHW, dim=(2, 3), correction=0, keepdim=True)
    return mean, (variance + EPS).sqrt()


# --- the networks ---------------------------------------------------------------------------------


def _encoder() -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    layers += _layers(3, _ENCODER_WIDTHS, lambda: nn.MaxPool2d(2, 2, ceil_mode=True))
    return nn.Sequential(*layers)


def _decoder() -> nn.Sequential:
    layers = _layers(512, _DECODER_WIDTHS, lambda: nn.Upsample(scale_factor=2, mode="nearest"))
    return nn.Sequential(*layers[:-1])  # no ReLU after the last convolution


def _layers(
    channels: int, widths: Sequence[Sequence[int]], change_size: Callable[[], nn.Module]
) -> list[nn.Module]:
    """Return blocks of reflection-padded 3x3 convolutions with ReLU, joined by changes of size."""
    layers: list[nn.Module] = []
    for block in widths:
        if layers:
            layers.append(change_size())
        for before, after in pairwise((channels, *block)):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(before, after, 3), nn.ReLU()]
        channels = block[-1]
    return layers


# --- the files ------------------------------------------------------------------------------------


def _load(
    role: str, build: Callable[[], nn.Sequential], path: Path, device: torch.device | str
) -> nn.Sequential:
    with torch.device("meta"):
        network = build()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    what = f"the AdaIN {role}"
    tensors = select_tensors(read_tensors(path, what), shapes, what, str(path))
    network.load_state_dict(tensors, assign=True)
    return network.requires_grad_(False).eval().to(device)
