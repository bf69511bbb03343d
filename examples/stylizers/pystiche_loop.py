"""pystiche's own optimization loop as a stylizer of many steps, so that bad trials stop early.

Needs: pip install pystiche==1.0.1
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torchvision.models

from nst_core.images.tensors import from_uint8, resize, to_uint8
from nst_core.networks.weights import get_weights
from tuner.stylizers.protocol import Params, Picture

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYER = "relu4_2"
#: Steps between two pictures.
EVERY = 5


def import_pystiche() -> Any:
    """Import pystiche 1.0.1, which looks for names that torchvision has removed."""
    for family, network in (("alexnet", "alexnet"), ("vgg", "vgg16")):
        module = sys.modules[f"{torchvision.models.__name__}.{family}"]
        vars(module).setdefault("model_urls", {network: "unused"})
    warnings.simplefilter("ignore")
    import pystiche
    import pystiche.enc
    import pystiche.loss
    import pystiche.optim

    return pystiche


class Pystiche:
    """The library with VGG16, which is loaded once for all trials."""

    def __init__(self) -> None:
        self.library = import_pystiche()
        encoder = self.library.enc.vgg16_multi_layer_encoder(pretrained=False)
        encoder.load_state_dict(dict(get_weights("vgg16")))
        self.encoder = encoder.eval().requires_grad_(False)

    def open(
        self, content: Picture, styles: Sequence[Picture], size_px: int, device: str
    ) -> "PysticheSession":
        """Return a session for one pair; only the first style image is used."""
        return PysticheSession(self.library, self.encoder.to(device), content, styles[0], device)


class PysticheSession:
    """The library with the pictures of one pair."""

    def __init__(self, library: Any, encoder: Any, content: Picture, style: Picture, device: str):
        self.library, self.encoder = library, encoder
        self.content_13HW = from_uint8(content)[None].to(device)
        height, width = content.shape[:2]
        self.style_13HW = resize(from_uint8(style), height, width)[None].to(device)

    def start(self, params: Params, seed: int) -> Iterator[tuple[int, Picture]]:
        """Yield a picture after each `EVERY` steps, without end: the search decides when it ends.

        ``style_weight`` is relative to a content weight of 1, ``layer_slope`` weights the style
        layers: above 1, deep ones count more. ``optimizer`` is ``adam`` or ``lbfgs``.
        """
        torch.manual_seed(seed)
        image_13HW = self.content_13HW.clone(memory_format=torch.contiguous_format)
        if params["init"] == "noise":
            image_13HW = torch.rand_like(image_13HW)
        image_13HW.requires_grad_(True)
        criterion = self._criterion(float(params["style_weight"]), float(params["layer_slope"]))
        optimizer = self._optimizer(image_13HW, params)
        step = 0
        while True:
            self.library.optim.image_optimization(
                image_13HW, criterion, optimizer, num_steps=EVERY, quiet=True
            )
            step += EVERY
            yield step, to_uint8(image_13HW.detach()[0].cpu())

    def _optimizer(self, image_13HW: torch.Tensor, params: Params) -> torch.optim.Optimizer:
        if params["optimizer"] == "lbfgs":
            return self.library.optim.default_image_optimizer(image_13HW)
        return torch.optim.Adam([image_13HW], lr=float(params["lr"]))

    def _criterion(self, style_weight: float, layer_slope: float) -> Any:
        loss = self.library.loss
        content = loss.FeatureReconstructionLoss(self.encoder.extract_encoder(CONTENT_LAYER))
        shares = [layer_slope**depth for depth in range(len(STYLE_LAYERS))]
        style = loss.MultiLayerEncodingLoss(
            self.encoder,
            STYLE_LAYERS,
            lambda encoder, share: loss.GramLoss(encoder, score_weight=share),
            layer_weights=[share / sum(shares) for share in shares],
            score_weight=style_weight,
        )
        both = loss.PerceptualLoss(content, style)
        both.set_content_image(self.content_13HW)
        both.set_style_image(self.style_13HW)
        return both
