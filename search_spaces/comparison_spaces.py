"""Spaces that answer one question each, such as which layers or which optimizer to use."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.derived_parameters import STYLE_SETS, sets_of
from search_spaces.gram_spaces import ALL_SETS, GRAM, RATIO, SCHEMES, SETS, options
from search_spaces.parameters import Choice, Float, Int, Parameter
from search_spaces.space import Space

#: Optimizers whose steps are about as long as the learning rate, for any gradient.
_ADAPTIVE = ("adam", "adamw", "lamb")

_VGGS = ("vgg16", "vgg19")


def _layer_weights() -> Mapping[str, Parameter]:
    """Return weights of the second to fifth layer, conditional on sets with enough layers."""
    explicit: Mapping[str, tuple[str, ...]] = {"style_scheme": ("explicit",)}
    with_layers = {n: tuple(s for s in ALL_SETS if len(STYLE_SETS[s]) >= n) for n in range(3, 6)}
    deeper = {n: {**explicit, "style_set": sets} for n, sets in with_layers.items()}
    return {
        f"log10_layer_{number}": Float(low=-2.5, high=1.5, when=when)
        for number, when in {2: explicit, **deeper}.items()
    }


LAYERS = Space(
    name="layers",
    why=(
        "Which layers of VGG16 to use, and their weights. Each set of style layers has three"
        " simple schemes and explicit weights. Explicit weights are relative to the first"
        " layer, because only ratios matter when the ratio of style to content is searched as"
        " well. Their range includes the weights of public engines: crowsonkb's fall to 1/256"
        " at the fifth layer (-2.4 here), and the scheme `deep` rises to 16 there (1.2)."
        " Content layers are those that reports and engines name, and relu3_2, which did well"
        " with `gram`. All other settings have values that suit `gram`, so that trials explore"
        " the layers only. For other networks use `networks`."
    ),
    params={
        "log10_style_content": RATIO,
        "lr": Float(low=0.01, high=0.1, log=True),
        "style_set": Choice(options=ALL_SETS),
        "style_scheme": Choice(options=(*SCHEMES, "explicit")),
        **_layer_weights(),
        "content_layer": Choice(options=("relu2_2", "relu3_2", "relu4_2", "conv4_2", "conv5_2")),
    },
    fixed=GRAM.fixed,
    initial_points=(
        {
            "style_set": "relu1_1-5_1",
            "style_scheme": "explicit",
            "log10_layer_2": -0.6,
            "log10_layer_3": -1.2,
            "log10_layer_4": -1.8,
            "log10_layer_5": -2.4,
            "content_layer": "relu4_2",
        },
        {"style_set": "relu1_1-5_1", "style_scheme": "shallow", "content_layer": "relu2_2"},
        {"style_set": "relu1_2-4_3", "content_layer": "relu2_2"},
    ),
)

NETWORKS = Space(
    name="networks",
    why=(
        "Which network to use, each with its own layers. The space needs the weights of all"
        " five networks; `nst-tuner weights` lists which are available. Networks have different"
        " layers, so the choices of layers depend on the network: for VGG as in `gram`; for"
        " ResNet-18 those of the report lbfgs-resnet18 and two parts of them; for MobileNetV2"
        " and SqueezeNet the first three or all five of their default layers. Features of"
        " different networks have different magnitudes, and the best ratio of style to content"
        " is not known, so the range has six decades. AlexNet is not included: the default"
        " objective, LPIPS, uses AlexNet, and its scores would be too good."
    ),
    params={
        "extractor": Choice(
            options=("vgg16", "vgg19", "resnet18", "mobilenet_v2", "squeezenet1_1")
        ),
        "log10_style_content": Float(low=-2.0, high=4.0),
        "lr": Float(low=0.005, high=0.2, log=True),
        "style_set@vgg": Choice(options=SETS, when={"extractor": _VGGS}),
        "style_set@resnet18": Choice(
            options=sets_of("resnet18"), when={"extractor": ("resnet18",)}
        ),
        "style_set@mobilenet_v2": Choice(
            options=sets_of("mobilenet_v2"), when={"extractor": ("mobilenet_v2",)}
        ),
        "style_set@squeezenet1_1": Choice(
            options=sets_of("squeezenet1_1"), when={"extractor": ("squeezenet1_1",)}
        ),
        "style_scheme": Choice(options=SCHEMES),
        "content_layer@vgg": Choice(
            options=("relu2_2", "relu3_2", "relu4_2"), when={"extractor": _VGGS}
        ),
        "content_layer@resnet18": Choice(
            options=("layer1", "layer2", "layer3"), when={"extractor": ("resnet18",)}
        ),
        "content_layer@mobilenet_v2": Choice(
            options=("block2", "block4", "block7"), when={"extractor": ("mobilenet_v2",)}
        ),
        "content_layer@squeezenet1_1": Choice(
            options=("fire2", "fire4", "fire6"), when={"extractor": ("squeezenet1_1",)}
        ),
    },
    fixed={"optimizer": "adam", "content_weight": 1.0},
)

OPTIMIZERS = Space(
    name="optimizers",
    why=(
        "Which optimizer gives the best score, each with its own range of learning rates. The"
        " steps of Adam, AdamW and LAMB are about as long as the learning rate, so their ranges"
        " are those of `gram`. A step of SGD is proportional to the gradient, so its learning"
        " rate depends on the weights and the number of pixels. At 64 px on a sample pair 0.1"
        " was stable at a ratio of 0.1, but only 0.01 at a ratio of 10; five decades from"
        " 0.0001 include these and higher rates for larger pictures, whose gradients per pixel"
        " are smaller. L-BFGS computes the length of its steps, so its learning rate is not"
        " searched; it remembers 5 to 20 steps, and each takes the memory of two images. Its"
        " range of the ratio is half a decade below that of Adam, as in the weights that"
        " gordicaleksa's engine recommends for both. All use Gatys' loss and start from the"
        " content, so that only the optimizers differ."
    ),
    params={
        "optimizer": options("optimizer"),
        "log10_style_content@adaptive": Float(low=-1.5, high=2.5, when={"optimizer": _ADAPTIVE}),
        "log10_style_content@sgd": Float(low=-1.5, high=2.5, when={"optimizer": ("sgd",)}),
        "log10_style_content@lbfgs": Float(low=-2.0, high=2.0, when={"optimizer": ("lbfgs",)}),
        "lr@adam": Float(low=0.005, high=0.2, log=True, when={"optimizer": ("adam",)}),
        "lr@adamw": Float(low=0.005, high=0.2, log=True, when={"optimizer": ("adamw",)}),
        "lr@lamb": Float(low=0.005, high=0.2, log=True, when={"optimizer": ("lamb",)}),
        "lr@sgd": Float(low=1e-4, high=1e1, log=True, when={"optimizer": ("sgd",)}),
        "momentum": Float(low=0.5, high=0.95, when={"optimizer": ("sgd",)}),
        "beta2": Float(low=0.9, high=0.999, when={"optimizer": _ADAPTIVE}),
        "weight_decay": Float(low=1e-3, high=1.0, log=True, when={"optimizer": ("adamw", "lamb")}),
        "lbfgs_history": Int(low=5, high=20, when={"optimizer": ("lbfgs",)}),
        "lr_schedule": options("lr_schedule"),
        "warmup_steps": Int(low=0, high=20),
    },
    fixed={"extractor": "vgg16", "content_weight": 1.0, "init": "content"},
    initial_points=(
        {"optimizer": "lbfgs", "lbfgs_history": 10, "lr_schedule": "constant", "warmup_steps": 0},
        {"optimizer": "adam", "lr@adam": 0.03, "beta2": 0.999},
        {"optimizer": "adamw", "lr@adamw": 0.01, "beta2": 0.999},
        {"optimizer": "lamb", "lr@lamb": 0.03},
        {"optimizer": "sgd", "log10_style_content@sgd": 0.0, "lr@sgd": 0.03, "momentum": 0.9},
    ),
)

FAST = Space(
    name="fast",
    why=(
        "The best score in little time per image. The cost of a step depends on the deepest"
        " layer that is used: compared with relu5_1, which `gram` may use, relu4_1 needs 71 %"
        " of the operations, relu3_1 39 % and relu2_2 33 %. So no layer below relu4_1 is used."
        " Smaller sizes cost less, in proportion to their pixels, so a run may have up to four"
        " sizes, each sqrt(2) times the one before. The number of steps is not searched,"
        " because halving compares trials at equal steps: set `halving.max_steps` to the steps"
        " that you have time for, such as 60. Learning rates begin at 0.02, because a few"
        " smaller steps change too little. Runs start from the content, the best start image"
        " that costs nothing."
    ),
    params={
        "log10_style_content": RATIO,
        "optimizer": Choice(options=("adam", "lbfgs")),
        "lr@adam": Float(low=0.02, high=0.2, log=True, when={"optimizer": ("adam",)}),
        "beta2": Float(low=0.9, high=0.999, when={"optimizer": ("adam",)}),
        "lr_schedule": options("lr_schedule"),
        "style_set": Choice(options=("relu1_1-2_1", "relu1_1-3_1", "relu1_1-4_1", "relu2_1-4_1")),
        "style_scheme": Choice(options=SCHEMES),
        "content_layer": Choice(options=("relu1_2", "relu2_2", "relu3_1", "relu4_1")),
        "scales": Int(low=1, high=4),
    },
    fixed={"extractor": "vgg16", "content_weight": 1.0, "init": "content"},
    initial_points=(
        {
            "log10_style_content": 0.15,
            "optimizer": "adam",
            "lr@adam": 0.1,
            "style_set": "relu1_1-3_1",
            "style_scheme": "shallow",
            "content_layer": "relu2_2",
            "scales": 1,
        },
        {"optimizer": "lbfgs", "style_set": "relu1_1-4_1", "content_layer": "relu2_2"},
    ),
)

BLEND = Space(
    name="blend",
    why=(
        "How to weight two to five style images. All pairs of the job need the same number of"
        " style images in the same order; weights of missing images are ignored. Each weight is"
        " relative to that of the first image. With two images, 1.3 decades in both directions"
        " give either image a share of 5 to 95 %; a smaller share is hardly visible. The"
        " initial points are the blends of the report weighted-layers: 0.5 and 0.5, 0.2 and"
        " 0.8. Ratio, learning rate and schemes are those of `gram`; its other choices are"
        " fixed to values that did well, because each weight adds a dimension. The preset of"
        " the result contains the blend, for the same images in the same order."
    ),
    params={
        **{f"log10_blend_{number}": Float(low=-1.3, high=1.3) for number in range(2, 6)},
        "log10_style_content": RATIO,
        "lr": Float(low=0.005, high=0.2, log=True),
        "style_scheme": Choice(options=SCHEMES),
        "content_layer": Choice(options=("relu2_2", "relu3_2", "relu4_2")),
    },
    fixed={**GRAM.fixed, "init": "content"},
    initial_points=(
        {
            "log10_blend_2": 0.0,
            "log10_style_content": 0.0,
            "lr": 0.03,
            "style_scheme": "shallow",
            "content_layer": "relu3_2",
        },
        {"log10_blend_2": 0.602},
    ),
)

PHOTOREAL = Space(
    name="photoreal",
    why=(
        "The style's light and colors on a result that still looks like a photo. The matting"
        " Laplacian favors results that are a locally affine recoloring of the photo. On two"
        " sample pairs (96 px, 60 steps, style weight 30) a weight of 100 reduced its energy by"
        " a fifth, 1000 by about seven tenths and 100000 by 99.5 %, which gives the range. The"
        " option `off` shows whether the term is needed. The result has the style's colors, or"
        " keeps the photo's colors in one of two ways. The style image may be recolored like"
        " the photo first, except where only the brightness is stylized. Content layers are"
        " relu3_2 or relu4_2, because objects must stay recognizable; for the same reason runs"
        " start from the content and learning rates end at 0.1. The space needs PyMatting (`pip"
        " install 'nst-tuner[photorealism]'`)."
    ),
    params={
        "photo": Choice(options=("on", "off")),
        "photo_weight": Float(low=1e2, high=1e5, log=True, when={"photo": ("on",)}),
        "preserve_color": options("preserve_color"),
        "match_colors": Choice(
            options=("none", "mean_cov", "histogram"), when={"preserve_color": ("none", "after")}
        ),
        "log10_style_content": Float(low=-0.5, high=2.5),
        "lr": Float(low=0.005, high=0.1, log=True),
        "style_scheme": Choice(options=SCHEMES),
        "content_layer": Choice(options=("relu3_2", "relu4_2")),
    },
    fixed={**GRAM.fixed, "init": "content"},
    initial_points=(
        {"photo": "on", "photo_weight": 1e4, "preserve_color": "none", "match_colors": "none"},
    ),
)
