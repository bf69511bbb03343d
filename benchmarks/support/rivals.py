"""Other ways to take the same optimizer step: the script that everyone writes first, and pystiche.

Each gives a function that takes one Adam step on the same VGG16 and the same layers as ours.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

from nst_core.networks.extractors import NORMALIZATION_STATS, bare_network
from nst_core.networks.registry import NETWORKS

Step = Callable[[], object]

CONTENT_LAYER = "relu4_2"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STYLE_WEIGHT = 1e3
LR = 0.02


def plain_script(
    content_3HW: Tensor, style_3HW: Tensor, weights: Mapping[str, Tensor], device: torch.device
) -> Step:
    """One image, the whole network with weights that ask for gradients, targets in every step."""
    network = bare_network("vgg16")
    network.load_state_dict(dict(weights), assign=True)
    features = network.get_submodule("features").to(device)
    for parameter in features.parameters():
        parameter.requires_grad_()
    wanted = {int(NETWORKS["vgg16"].node[n].split(".")[1]): n for n in NETWORKS["vgg16"].layers}
    stats = NORMALIZATION_STATS["imagenet"]
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (stats.mean, stats.std))
    content, style = content_3HW[None].to(device), style_3HW[None].to(device)
    image = content.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=LR)

    def read(pixels: Tensor) -> dict[str, Tensor]:
        value, found = (pixels - mean) / std, {}
        for index, module in enumerate(features.children()):
            value = module(value)
            found[wanted[index]] = value
        return found

    def gram(feat: Tensor) -> Tensor:
        flat = feat.flatten(2)
        return flat @ flat.mT / flat.shape[2]

    def step() -> float:
        optimizer.zero_grad()
        found, goal, look = read(image), read(content), read(style)
        loss = F.mse_loss(found[CONTENT_LAYER], goal[CONTENT_LAYER])
        for layer in STYLE_LAYERS:
            loss = loss + STYLE_WEIGHT / 5 * F.mse_loss(gram(found[layer]), gram(look[layer]))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return step


def pystiche(
    content_3HW: Tensor, style_3HW: Tensor, weights: Mapping[str, Tensor], device: torch.device
) -> Step:
    """Pystiche 1.0.1 as its beginner example uses it, with Adam; it does not freeze its weights."""
    library = _import_pystiche()
    encoder = library.enc.vgg16_multi_layer_encoder(pretrained=False)
    encoder.load_state_dict(dict(weights))
    encoder = encoder.eval().to(device)
    content_loss = library.loss.FeatureReconstructionLoss(encoder.extract_encoder(CONTENT_LAYER))

    def style_of(layer_encoder: Any, layer_weight: float) -> Any:
        return library.loss.GramLoss(layer_encoder, score_weight=layer_weight)

    style_loss = library.loss.MultiLayerEncodingLoss(
        encoder, STYLE_LAYERS, style_of, score_weight=STYLE_WEIGHT
    )
    criterion = library.loss.PerceptualLoss(content_loss, style_loss).to(device)
    criterion.set_content_image(content_3HW[None].to(device))
    criterion.set_style_image(style_3HW[None].to(device))
    image = content_3HW[None].to(device).clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=LR)

    def step() -> float:
        optimizer.zero_grad()
        loss = criterion(image)
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


def _import_pystiche() -> Any:
    """The package asks torchvision for tables that it has dropped since."""
    assert torchvision.models
    for family, network in (("alexnet", "alexnet"), ("vgg", "vgg16")):
        module: Any = sys.modules[f"torchvision.models.{family}"]
        module.model_urls = {network: "unused: weights are handed over"}
    warnings.filterwarnings("ignore", module="torchvision")
    import pystiche
    import pystiche.enc
    import pystiche.loss

    return pystiche
