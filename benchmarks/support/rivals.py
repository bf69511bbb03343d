"""Other implementations of the same optimizer step: a plain script, and pystiche.

Each function returns a function that takes one Adam step on the same layers of the same VGG16.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
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
    """Return a step of a simple script.

    It runs the whole network, also computes gradients of the weights, and computes targets in every
    step.
    """
    network = bare_network("vgg16")
    network.load_state_dict(dict(weights), assign=True)
    features = network.get_submodule("features").to(device)
    for parameter in features.parameters():
        parameter.requires_grad_()
    layer_of = {int(NETWORKS["vgg16"].node[n].split(".")[1]): n for n in NETWORKS["vgg16"].layers}
    stats = NORMALIZATION_STATS["imagenet"]
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (stats.mean, stats.std))
    content, style = content_3HW[None].to(device), style_3HW[None].to(device)
    image = content.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=LR)

    def read(pixels: Tensor) -> dict[str, Tensor]:
        value, features_by_layer = (pixels - mean) / std, {}
        for index, module in enumerate(features.children()):
            value = module(value)
            features_by_layer[layer_of[index]] = value
        return features_by_layer

    def gram(feat: Tensor) -> Tensor:
        flat = feat.flatten(2)
        return flat @ flat.mT / flat.shape[2]

    def step() -> float:
        optimizer.zero_grad()
        image_feat, content_feat, style_feat = read(image), read(content), read(style)
        loss = F.mse_loss(image_feat[CONTENT_LAYER], content_feat[CONTENT_LAYER])
        for layer in STYLE_LAYERS:
            style_loss = F.mse_loss(gram(image_feat[layer]), gram(style_feat[layer]))
            loss = loss + STYLE_WEIGHT / 5 * style_loss
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    return step


def pystiche(
    content_3HW: Tensor, style_3HW: Tensor, weights: Mapping[str, Tensor], device: torch.device
) -> Step:
    """Return a step of pystiche 1.0.1 as in its beginner example, with Adam.

    The example does not freeze the weights of the network.
    """
    criterion = pystiche_criterion(content_3HW, style_3HW, weights, device)
    image = content_3HW[None].to(device).clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=LR)

    def step() -> float:
        optimizer.zero_grad()
        loss = criterion(image)
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


def pystiche_criterion(
    content_3HW: Tensor,
    style_3HW: Tensor,
    weights: Mapping[str, Tensor],
    device: torch.device,
    *,
    style_weight: float = STYLE_WEIGHT,
    layer_weights: Sequence[float] | str = "mean",
) -> Any:
    """Return pystiche's loss of one pair.

    Args:
        content_3HW: content image, float32 in [0, 1].
        style_3HW: style image, float32 in [0, 1].
        weights: weights of VGG16.
        device: where to compute.
        style_weight: factor of the style loss.
        layer_weights: weight of each of `STYLE_LAYERS`, or ``mean``.
    """
    library = _import_pystiche()
    encoder = library.enc.vgg16_multi_layer_encoder(pretrained=False)
    encoder.load_state_dict(dict(weights))
    encoder = encoder.eval().to(device)
    content_loss = library.loss.FeatureReconstructionLoss(encoder.extract_encoder(CONTENT_LAYER))

    def style_of(layer_encoder: Any, layer_weight: float) -> Any:
        return library.loss.GramLoss(layer_encoder, score_weight=layer_weight)

    style_loss = library.loss.MultiLayerEncodingLoss(
        encoder, STYLE_LAYERS, style_of, layer_weights=layer_weights, score_weight=style_weight
    )
    criterion = library.loss.PerceptualLoss(content_loss, style_loss).to(device)
    criterion.set_content_image(content_3HW[None].to(device))
    criterion.set_style_image(style_3HW[None].to(device))
    return criterion


def pystiche_stylized(
    content_3HW: Tensor,
    style_3HW: Tensor,
    weights: Mapping[str, Tensor],
    device: torch.device,
    *,
    steps: int,
    **settings: Any,
) -> Tensor:
    """Return image_3HW in [0, 1], the result of pystiche's own loop with L-BFGS from the content.

    Args:
        content_3HW: content image, float32 in [0, 1].
        style_3HW: style image, float32 in [0, 1].
        weights: weights of VGG16.
        device: where to compute.
        steps: number of steps.
        settings: see `pystiche_criterion`.
    """
    criterion = pystiche_criterion(content_3HW, style_3HW, weights, device, **settings)
    # Gradients of the weights are not needed: only the pixels are optimized.
    for parameter in criterion.parameters():
        parameter.requires_grad_(False)
    from pystiche import optim

    image = content_3HW[None].to(device).clone()
    image = optim.image_optimization(image, criterion, num_steps=steps, quiet=True)
    stylized: Tensor = image.detach()[0].clamp(0, 1).cpu()
    return stylized


def _import_pystiche() -> Any:
    """Import pystiche, which needs tables that torchvision has removed since."""
    assert torchvision.models
    for family, network in (("alexnet", "alexnet"), ("vgg", "vgg16")):
        module: Any = sys.modules[f"torchvision.models.{family}"]
        module.model_urls = {network: "unused: weights are handed over"}
    warnings.filterwarnings("ignore", module="torchvision")
    import pystiche
    import pystiche.enc
    import pystiche.loss

    return pystiche
