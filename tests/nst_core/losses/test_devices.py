"""Targets on a device: what is uploaded for them, and that the host waits for nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.networks.weights import Weights
from tests.nst_core.device_traffic import DEVICES, pretended_device, traffic_of
from tests.nst_core.lanes.test_devices import images, weights

__all__ = ["weights"]

#: Uploads for all targets of a lane, when the weights of the network are on the device: content and
#: style images, masks, and the constants of the normalization.
KNOWN_UPLOADS = {"one style": 6, "blend": 8, "regions": 9}

#: Settings that change targets.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "mean color": {"match_colors": "mean"},
    "mean and covariance": {"match_colors": "mean_cov"},
    "histogram": {"match_colors": "histogram"},
    "luminance": {"preserve_color": "luminance"},
    "caffe": {"normalization": "caffe"},
    "style scale": {"style_scale": 1.4},
}


def targets_of(store: FeatureStore, config: StyleConfig, inputs: LossInputs) -> list[Tensor]:
    """Return all targets of a lane."""
    content = [store.content(config, inputs, layer) for layer in config.content_layers]
    moments = [
        store.style(config, inputs, region, layer)
        for region in range(len(inputs.regions))
        for layer in config.style_layers
    ]
    parts = [part for of_layer in moments for part in of_layer]
    return [*content, *parts, store.color_quantiles(config, inputs)]


def check_targets(
    device: str, weights: Callable[[str], Weights], kind: str, **settings: Any
) -> None:
    """Check the traffic of the targets of a lane, and where they are."""
    config, inputs = StyleConfig(size_px=48, **settings), images(kind)
    if kind != "one style":
        config = config.replace(style_blend=(1.0, 2.0))
    with pretended_device(device):
        store = FeatureStore(weights, device)
        store.extractor(config.backbone, config.layers)
        targets: list[Tensor] = []
        found = traffic_of(lambda: targets.extend(targets_of(store, config, inputs)))
    assert found <= Counter({"upload": KNOWN_UPLOADS[kind]}), found
    assert {target.device.type for target in targets} == {torch.device(device).type}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("kind", KNOWN_UPLOADS)
def test_targets_are_uploaded_once_and_stay(
    kind: str, settings: Mapping[str, Any], device: str, weights: Callable[[str], Weights]
) -> None:
    """Targets upload their images and read nothing back, however the style is recolored."""
    check_targets(device, weights, kind, **settings)
