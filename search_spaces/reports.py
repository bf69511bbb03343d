"""What the five reported systems varied, each around its own numbers.

The networks are VGG16 where a report has VGG19 or ResNet-18, whose weights are not everywhere: it
has all the layers that the reports name. Ratios are those of the presets in
`nst_core.presets.built_in`, with the sum of the layer weights counted in where layers are weighed
one by one, since weights are kept at the sum 1 then.
"""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.parameters import Choice, Float
from search_spaces.space import Space

_CONVS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")


def _layer_weights(low: float, high: float) -> Mapping[str, Float]:
    """Weights of the second to the fifth layer, against the first."""
    return {f"log10_layer_{number}": Float(low=low, high=high) for number in range(2, 6)}


_ADAM_1000 = Space(
    name="report-adam-1000",
    why=(
        "Ratio and rate of the report adam-1000. The space runs on VGG16. The report tuned over a"
        " fixed search space under a limit of 12 hours of a GPU; what is known of it is where it"
        " arrived: style 1e6 to content 1 in its units, 5e5 (5.7) in ours, and Adam at 0.01 for"
        " 1000 steps. So the ratio is searched over two decades to both sides and the rate over"
        " one. All of it lies beyond the knee that `gram` searches around, so expect the style to"
        " win. For the report's own course give the job `halving.max_steps: 1000`."
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
        "Layer weights and rates of the report layered-2000. The space runs on VGG16. It ran the"
        " layer weights 1.0/0.8/0.4/0.2/0.1 and 0.4/0.3/0.2/0.2/0.2 and the rates 0.001 and 0.07,"
        " which are the two starts. Against the first layer its weights go from 0.1 to 0.8, so they"
        " are searched from 0.05 to 2; rates from half the smaller one to a little above the larger"
        " one. Content 5 and style 1e9 stay within two decades: 8.7 with its weights summed. The"
        " input is normalized by 0.5 and Grams are divided by C H W, as there. Its blends of"
        " several styles are the space `blend`, its photo-realistic transfer is `photoreal`. Its"
        " 2000 steps are `halving.max_steps`."
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
        "Optimizers and starts of the report lbfgs-resnet18. The space runs on VGG16. It compared"
        " L-BFGS, Adam at 0.1 and AdamW at 0.01, and found the start from the content best and more"
        " than 1000 steps no better. Rates are searched over a factor of five to both sides of its"
        " own; L-BFGS has none. The layers are those that it read of VGG16 (content relu2_2, style"
        " relu1_2 to relu4_3), the ratio lies within two decades of its 1e6. It had a total"
        " variation and names no weight, so four decades around the 1 that stands in for it in the"
        " preset are searched. For the other networks that it ran there is `networks`."
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
        "Rate and weights of the report tv-amp. The space runs on VGG16. Its rate of 5 on pixels of"
        " 0 to 255 is 0.0196 here, and 100 (0.39) diverged to infinity; the range goes from 1 to 50"
        " of 255. It names neither the weights of its losses nor its steps: the ratio is searched"
        " over two decades to both sides of the 0.01, and the total variation over two to both"
        " sides of the 1e5, that stand in for them in the preset. Caffe's input is 57 times as"
        " large as ImageNet's, and style losses grow with the fourth power of that, content losses"
        " with the second, which takes the knee of `gram` down to 0.0003 to 0.01. Its mixed"
        " precision is for GPUs; float32 stands in for it."
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
        "Layer weights and content layer of the report weighted-layers. The space runs on VGG16. It"
        " read content at conv4_2 and at conv5_2, weighted style layers 0.5/0.4/0.5/0.8/0.4 (0.8 to"
        " 1.6 times the first; searched from a fifth to five times), and ran Adam at 0.003 and"
        " 0.001. Of its weights, 1 to 1e6, 1 to 5e6 and 1e2 to 1e4, the ratios with the layer"
        " weights summed are 6.4, 7.1 and 2.4, which are the starts; the range takes all three in."
        " Grams are divided by C H W, as in the preset. Its two blended styles are the space"
        " `blend`. It took 1000 to 2000 steps at up to 400 px."
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
