"""Spaces for one question each: which layers, which optimizer, how fast."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.derived import sets_of
from search_spaces.grams import GRAM, RATIO, SCHEMES, SETS, options
from search_spaces.parameters import Choice, Float, Int, Parameter
from search_spaces.space import Space

#: Optimizers whose steps have the size of their rate, whatever that of the gradient.
_ADAPTIVE = ("adam", "adamw", "lamb")

_VGGS = ("vgg16", "vgg19")


def _layer_weights() -> Mapping[str, Parameter]:
    """Weights of the second to the fifth layer of the sets that have so many."""
    explicit: Mapping[str, tuple[str, ...]] = {"style_scheme": ("explicit",)}
    deeper = {n: {**explicit, "style_set": sets_of("vgg16", layers=n)} for n in range(3, 6)}
    return {
        f"log10_layer_{number}": Float(low=-2.5, high=1.5, when=when)
        for number, when in {2: explicit, **deeper}.items()
    }


LAYERS = Space(
    name="layers",
    why=(
        "Which layers of VGG16 to read, and how to weigh them. Every set of style layers comes with"
        " three simple schemes and with explicit weights, which are compared with the first"
        " layer's, as only their ratios matter beside the ratio of style to content. They span what"
        " engines use: crowsonkb's weights fall to 1/256 at the fifth layer (-2.4 here), the scheme"
        " `deep` rises to 16 there (1.2). Content is read at the layers that reports and engines"
        " name, and at relu3_2, which did well with `gram`. Everything else stays at what suits"
        " `gram`, so that the trials go into the layers; for other networks there is `networks`."
    ),
    params={
        "log10_style_content": RATIO,
        "lr": Float(low=0.01, high=0.1, log=True),
        "style_set": Choice(options=sets_of("vgg16")),
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
        "Which network to read, each with its own layers. It needs the weights of all five, and"
        " `nst-tuner weights` lists which are here. The layers of a network exist in no other, so"
        " the choices of layers hang on the network: for VGG as in `gram`, for ResNet-18 those of"
        " the report lbfgs-resnet18 and two parts of them, for MobileNetV2 and SqueezeNet the first"
        " three or all five that they read by default. Features of other networks have other sizes,"
        " and what ratio of style to content suits them is not known here, so six decades are"
        " searched. AlexNet is left out, since the default objective, LPIPS, looks through AlexNet"
        " and would be flattered."
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
        "Which optimizer comes nearest, each at rates of its own size. The steps of Adam, AdamW and"
        " LAMB have the size of their rate, so theirs are as in `gram`. SGD steps by the gradient"
        " itself, so its rate goes with the weights and the number of pixels: at 64 px on a sample"
        " pair 0.1 was still stable at a ratio of 0.1, and at a ratio of 10 only 0.01; five decades"
        " from 0.0001 cover that, and what larger pictures, with smaller gradients a pixel, allow."
        " L-BFGS finds its step lengths by itself and has no rate; it remembers 5 to 20 steps, as"
        " each costs two images of memory. Its range of the ratio lies half a decade below Adam's,"
        " as in the weights that gordicaleksa's engine names for the two. Losses are those of"
        " Gatys, and the start is the content, so that only the optimizers differ."
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
        "The best score for little time per image. A step costs what the network costs down to the"
        " deepest layer that is read: of the operations to relu5_1, where `gram` may read, relu4_1"
        " takes 71 %, relu3_1 39 % and relu2_2 33 %, so nothing below relu4_1 is read. Coarse sizes"
        " cost less too, by their pixels, so a picture may come from up to four of them, each"
        " sqrt(2) larger than the one before. Steps are no parameter, since halving compares trials"
        " at equal steps: set `halving.max_steps` to what the time allows, such as 60. Rates begin"
        " at 0.02, as so few small steps lead nowhere, and the start is the content, which is the"
        " nearest start that costs nothing."
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
        "How to weigh two to five style images against each other. Every pair of the job needs the"
        " same number of them, in the same order; weights of images that there are not are left"
        " out. Each weight is compared with the first image's: of two, 1.3 decades to both sides"
        " leave either a share of 5 to 95 %, and less than that hardly is a blend. The starts are"
        " the blends of the report weighted-layers, half and half, and 0.2 to 0.8. Ratio, rate and"
        " schemes are those of `gram`, whose other choices stay at what did well there, since each"
        " weight is a dimension more. The result's blend stands in its preset, for the same images"
        " in the same order."
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
        "The style's light and colors on a photo that stays a photo. The matting Laplacian keeps"
        " the result a locally affine recoloring of the photo: on two sample pairs (96 px, 60"
        " steps, style weight 30) a weight of 100 took a fifth off its energy, 1000 about seven"
        " tenths and 100000 99.5 %, so that is the range. `off` shows whether it is needed at all."
        " Colors are the style's, or the photo's in one of two ways, or the style is recolored"
        " like the photo first, which has no meaning where only the brightness is stylized. Content"
        " is read at relu3_2 or relu4_2, since a photo must keep its objects; the start is the"
        " content and rates end at 0.1 for the same reason. It needs PyMatting (`pip install"
        " 'nst-tuner[photorealism]'`)."
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
