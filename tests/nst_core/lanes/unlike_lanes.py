"""Lanes of one group whose settings differ as much as possible, for tests of batches."""

import torch

from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.targets import FeatureStore

#: Settings of one network that differ as much as possible, also in depth and optimizer.
CONFIGS = (
    StyleConfig(style_layers={"relu1_1": 1, "relu3_1": 1}, content_layers={"relu2_2": 1}, lr=0.02),
    StyleConfig(
        style_layers={"conv3_1": 1, "relu3_1": 0.5},
        content_layers={"conv1_2": 0.3, "relu2_1": 2},
        style_weight=1e4,
        tv_weight=3.0,
        color_weight=5.0,
        lr=0.2,
        init="noise",
        seed=7,
        gram="per_element",
        normalization="half",
        clamp="save",
        lr_schedule="cosine",
        warmup_steps=3,
        steps=9,
        keep="ema",
        ema_decay=0.7,
    ),
    StyleConfig(
        style_layers={"relu2_2": 1}, content_weight=0.0, init="style", optimizer="lbfgs", lr=0.5
    ),
    StyleConfig(
        style_layers={"relu1_2": 1, "relu2_2": 2},
        content_layers={"relu1_2": 1},
        style_loss="wasserstein",
        normalization="caffe",
        preserve_color="luminance",
        weight_schedule="balance",
        init="mix",
        tv_weight=1.0,
        tv_norm="l1",
        keep="best",
        beta1=0.5,
    ),
    StyleConfig(
        style_layers={"relu4_1": 1},
        content_layers={"relu1_2": 1},
        optimizer="adamw",
        style_loss="mean_cov",
        match_colors="mean_cov",
        color_weight=1.0,
        color_loss="histogram",
        weight_schedule="ramp",
        style_scale=0.9,
    ),
)


def unlike_inputs() -> list[LossInputs]:
    """Return images for each of `CONFIGS`, some with regions and masks."""
    generator = torch.Generator().manual_seed(0)

    def picture(height: int, width: int) -> torch.Tensor:
        return torch.rand(3, height, width, generator=generator)

    half = torch.zeros(32, 40)
    half[:, 20:] = 1
    styles = [picture(36, 32), picture(40, 44), picture(33, 48), picture(50, 40), picture(34, 34)]
    regions = [
        Style(image_3HW=styles[0], region_HW=half),
        Style(image_3HW=styles[1], style_region_HW=torch.rand(40, 44, generator=generator)),
        Style(image_3HW=styles[2], weight=2.0),
    ]
    blends: list[list[Style | tuple[torch.Tensor, float]]] = [
        [(style, 0.25), (styles[0], 0.75)] for style in styles
    ]
    blends[3:] = [list(regions), [Style(image_3HW=styles[3])]]
    return [LossInputs.at_size(picture(32, 40), blend, 40) for blend in blends]


def run_alone(store: FeatureStore, config: StyleConfig, inputs: LossInputs, steps: int):  # type: ignore[no-untyped-def]
    """Return image_3HW and total loss of a lane that takes its steps in a batch of its own."""
    batch = LaneBatch(store)
    batch.add("x", config, inputs)
    losses = batch.advance(steps)
    return batch.image("x"), losses.total[0]
