"""Spaces around the settings of five reported systems, one for each.

All use VGG16, although the reports use VGG19 or ResNet-18: its weights are easier to get, and it
has all layers that the reports name. Ratios are those of `nst_core.presets.built_in`. Where layer
weights are searched, their sum is 1 here, so the ratio includes the report's sum.
"""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.parameters import Choice, Float
from search_spaces.space import Space

_CONVS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")


def _layer_weights(low: float, high: float) -> Mapping[str, Float]:
    """Return weights of the second to fifth layer, relative to the first."""
    return {f"log10_layer_{number}": Float(low=low, high=high) for number in range(2, 6)}


_ADAM_1000 = Space(
    name="report-adam-1000",
    why=(
        "Ratio and learning rate of the report adam-1000. The space uses VGG16. The report"
        " tuned within a fixed search space and a limit of 12 GPU hours; only its result is"
        " known: style 1e6 to content 1 in its units, a ratio of 5e5 (5.7 as logarithm) in"
        " ours, and Adam with 0.01 for 1000 steps. So the ratio is searched two decades in both"
        " directions and the learning rate one decade. These ratios are above the range in"
        " which the style begins to show in `gram`, so expect results that are mostly style. To"
        " repeat the report's number of steps, set `halving.max_steps: 1000` in the job."
    ),
    params={
        "log10_style_content": Float(low=3.7, high=7.7),
        "lr": Float(low=0.001, high=0.1, log=True),
    },
    fixed={
        "extractor": "vgg16",
        "content_layers": {"conv4_2": 1.0},
        "style_layers": dict.fromkeys(_CONVS, 0.2),
        "content_weight": 0.5,
        "clamp": "save",
    },
    initial_points=({"log10_style_content": 5.69897, "lr": 0.01},),
)

_LAYERED_2000 = Space(
    name="report-layered-2000",
    why=(
        "Layer weights and learning rates of the report layered-2000. The space uses VGG16. The"
        " report used the layer weights 1.0/0.8/0.4/0.2/0.1 and 0.4/0.3/0.2/0.2/0.2 and the"
        " learning rates 0.001 and 0.07, which are the two initial points. Relative to the"
        " first layer its weights are 0.1 to 0.8, so the range is 0.05 to 2. Learning rates go"
        " from half of the smaller one to a little above the larger one. The ratio is searched"
        " two decades around the report's content weight 5 and style weight 1e9, which is 8.7"
        " with its layer weights summed. As in the report, the input is normalized by 0.5 and"
        " Gram matrices are divided by C H W. For its blends of several styles use the space"
        " `blend`, for its photorealistic transfer `photoreal`. For its 2000 steps set"
        " `halving.max_steps`."
    ),
    params={
        "log10_style_content": Float(low=6.7, high=10.7),
        "lr": Float(low=0.0005, high=0.1, log=True),
        **_layer_weights(-1.3, 0.3),
    },
    fixed={
        "extractor": "vgg16",
        "normalization": "half",
        "content_layers": {"conv4_2": 1.0},
        "style_layers": dict.fromkeys(_CONVS, 0.2),
        "content_weight": 5.0,
        "gram": "per_element",
        "clamp": "save",
    },
    initial_points=(
        {
            "log10_style_content": 8.69897,
            "lr": 0.001,
            "log10_layer_2": -0.09691,
            "log10_layer_3": -0.39794,
            "log10_layer_4": -0.69897,
            "log10_layer_5": -1.0,
        },
        {
            "log10_style_content": 8.41497,
            "lr": 0.07,
            "log10_layer_2": -0.12494,
            "log10_layer_3": -0.30103,
            "log10_layer_4": -0.30103,
            "log10_layer_5": -0.30103,
        },
    ),
)

_LBFGS_RESNET18 = Space(
    name="report-lbfgs-resnet18",
    why=(
        "Optimizers and start images of the report lbfgs-resnet18. The space uses VGG16. The"
        " report compared L-BFGS, Adam with 0.1 and AdamW with 0.01. A start from the content"
        " was best, and more than 1000 steps were no better. Learning rates are searched within"
        " a factor of five of the report's; that of L-BFGS is not searched. The layers are"
        " those that the report used with VGG16 (content relu2_2, style relu1_2 to relu4_3),"
        " and the ratio is within two decades of its 1e6. The report used a total variation of"
        " unknown weight, so the space searches four decades around 1, the weight in the"
        " preset. For the other networks of the report use `networks`."
    ),
    params={
        "optimizer": Choice(options=("lbfgs", "adam", "adamw")),
        "lr@adam": Float(low=0.02, high=0.5, log=True, when={"optimizer": ("adam",)}),
        "lr@adamw": Float(low=0.002, high=0.05, log=True, when={"optimizer": ("adamw",)}),
        "init": Choice(options=("content", "noise", "style")),
        "log10_style_content": Float(low=4.0, high=8.0),
        "tv_weight": Float(low=1e-2, high=1e2, log=True),
    },
    fixed={
        "extractor": "vgg16",
        "content_layers": {"relu2_2": 1.0},
        "style_layers": dict.fromkeys(("relu1_2", "relu2_2", "relu3_3", "relu4_3"), 1.0),
        "content_weight": 1.0,
        "gram": "per_element",
        "clamp": "save",
    },
    initial_points=(
        {"optimizer": "lbfgs", "init": "content", "log10_style_content": 6.0, "tv_weight": 1.0},
        {"optimizer": "adam", "lr@adam": 0.1, "init": "content", "log10_style_content": 6.0},
        {"optimizer": "adamw", "lr@adamw": 0.01, "init": "content", "log10_style_content": 6.0},
    ),
)

_TV_AMP = Space(
    name="report-tv-amp",
    why=(
        "Learning rate and weights of the report tv-amp. The space uses VGG16. The report's"
        " learning rate of 5 for pixels of 0 to 255 is 0.0196 here, and 100 (0.39) diverged to"
        " infinity; the range is 1 to 50 of 255. The report names neither loss weights nor"
        " steps. The ratio is searched two decades around 0.01 and the total variation weight"
        " two decades around 1e5, the values of the preset. Caffe's input is 57 times as large"
        " as ImageNet's. Style losses grow with the fourth power of the input and content"
        " losses with the second, so the style begins to show at ratios of 0.0003 to 0.01,"
        " compared with 1 to 30 in `gram`. The report's mixed precision needs a GPU; this space"
        " uses float32."
    ),
    params={
        "log10_style_content": Float(low=-4.0, high=0.0),
        "lr": Float(low=1 / 255, high=50 / 255, log=True),
        "tv_weight": Float(low=1e3, high=1e7, log=True),
    },
    fixed={
        "extractor": "vgg16",
        "normalization": "caffe",
        "content_layers": {"conv4_2": 1.0},
        "style_layers": dict.fromkeys(_CONVS, 0.2),
        "content_weight": 1.0,
        "clamp": "save",
    },
    initial_points=({"log10_style_content": -2.0, "lr": 5 / 255, "tv_weight": 1e5},),
)

_WEIGHTED_LAYERS = Space(
    name="report-weighted-layers",
    why=(
        "Layer weights and content layer of the report weighted-layers. The space uses VGG16."
        " The report used the content layers conv4_2 and conv5_2, the style layer weights"
        " 0.5/0.4/0.5/0.8/0.4, and Adam with the learning rates 0.003 and 0.001. Relative to"
        " the first layer its weights are 0.8 to 1.6; the range is 0.2 to 5. Its weights of"
        " content and style, 1 and 1e6, 1 and 5e6, 1e2 and 1e4, give ratios of 6.4, 7.1 and 2.4"
        " with the layer weights summed, which are the initial points; the range includes all"
        " three. Gram matrices are divided by C H W, as in the preset. For its two blended"
        " styles use the space `blend`. The report used 1000 to 2000 steps at up to 400 px."
    ),
    params={
        "log10_style_content": Float(low=2.0, high=7.5),
        "lr": Float(low=0.0005, high=0.01, log=True),
        **_layer_weights(-0.7, 0.7),
        "content_layer": Choice(options=("conv4_2", "conv5_2")),
    },
    fixed={
        "extractor": "vgg16",
        "style_layers": dict.fromkeys(_CONVS, 0.2),
        "content_weight": 1.0,
        "gram": "per_element",
        "clamp": "save",
    },
    initial_points=tuple(
        {
            "log10_style_content": ratio,
            "lr": 0.003,
            "log10_layer_2": -0.09691,
            "log10_layer_3": 0.0,
            "log10_layer_4": 0.20412,
            "log10_layer_5": -0.09691,
            "content_layer": "conv4_2",
        }
        for ratio in (6.41497, 7.11394, 2.41497)
    ),
)

REPORTS = (_ADAM_1000, _LAYERED_2000, _LBFGS_RESNET18, _TV_AMP, _WEIGHTED_LAYERS)
