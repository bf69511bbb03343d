"""Spaces for the best result: Gatys' loss with ranges of three widths."""

from __future__ import annotations

from nst_core.config import FIELDS
from search_spaces.parameters import Choice, Float, Int
from search_spaces.space import Space

#: Sets and schemes of style layers that did well, or that published systems use.
SETS = ("relu1_1-3_1", "relu1_1-4_1", "relu1_1-5_1", "relu1_2-4_3")
SCHEMES = ("equal", "shallow", "deep")
#: All sets of VGG16 in `gram-wide` and `layers`.
ALL_SETS = (
    *(*SETS, "relu1_1-2_1"),
    *("relu2_1-4_1", "relu2_1-5_1", "conv1_1-5_1"),
)

#: log10 of style weight over content weight, for per-pixel Grams and a start from the content.
RATIO = Float(low=-1.5, high=2.5)


def options(field_name: str, *without: str) -> Choice:
    """Return a choice of all values of a field of StyleConfig, without the named ones."""
    values = FIELDS[field_name].metadata["options"]
    return Choice(options=tuple(value for value in values if value not in without))


GRAM = Space(
    name="gram",
    why=(
        "Gatys' loss on VGG16 with Adam. With Adam only the ratio of style to content weight"
        " matters, so the space searches this ratio over four decades and fixes the content"
        " weight. The style begins to show between a ratio of 1 and 30 with per-pixel Gram"
        " matrices. Learning rates below 0.005 change too little in a few hundred steps; above"
        " 0.2 they only produce noise. A total variation weight below 10 has no visible effect,"
        " and above 1000 it blurs. The three initial points did well on sample photos and"
        " paintings: the first two with references of a feed-forward network, the last with a"
        " reference of a long optimization."
    ),
    params={
        "log10_style_content": RATIO,
        "lr": Float(low=0.005, high=0.2, log=True),
        "style_set": Choice(options=SETS),
        "style_scheme": Choice(options=SCHEMES),
        "content_layer": Choice(options=("relu2_2", "relu3_2", "relu4_2")),
        "tv": Choice(options=("off", "on")),
        "tv_weight": Float(low=1e1, high=1e3, log=True, when={"tv": ("on",)}),
        "init": Choice(options=("content", "noise", "style")),
    },
    fixed={"extractor": "vgg16", "optimizer": "adam", "content_weight": 1.0},
    initial_points=(
        {
            "log10_style_content": 0.0,
            "lr": 0.03,
            "style_set": "relu1_1-5_1",
            "style_scheme": "shallow",
            "content_layer": "relu3_2",
            "tv": "off",
            "init": "content",
        },
        {
            "log10_style_content": 0.15,
            "lr": 0.1,
            "style_set": "relu1_2-4_3",
            "style_scheme": "shallow",
            "content_layer": "relu2_2",
            "tv": "on",
            "tv_weight": 200.0,
            "init": "content",
        },
        {
            "log10_style_content": 1.5,
            "lr": 0.015,
            "style_set": "relu1_1-5_1",
            "style_scheme": "shallow",
            "content_layer": "relu2_2",
            "tv": "on",
            "tv_weight": 200.0,
            "init": "content",
        },
    ),
)

GRAM_WIDE = Space(
    name="gram-wide",
    why=(
        "Like `gram`, with more start images, all sets of layers, and wider ranges. The best"
        " ratio of style to content depends on the start image: the weights that gordicaleksa's"
        " engine recommends are 1.5 to 3.5 decades lower for a start from noise or style than"
        " from the content. So each kind of start has its own range of six decades, and the"
        " range for noise and style is two decades lower. Learning rates go from 0.001, the"
        " smallest of the baseline presets, to 0.5, where one step is half of the pixel range."
        " Total variation weights have one decade more at both ends. Use this space if results"
        " of `gram` are at the border of its ranges; it is larger and needs more trials."
    ),
    params={
        "init": Choice(options=("content", "mix", "noise", "style", "style_noise")),
        "init_noise": Float(low=0.05, high=0.8, when={"init": ("mix",)}),
        "log10_style_content@content": Float(low=-2.0, high=4.0, when={"init": ("content", "mix")}),
        "log10_style_content@noise": Float(
            low=-4.0, high=2.0, when={"init": ("noise", "style", "style_noise")}
        ),
        "lr": Float(low=0.001, high=0.5, log=True),
        "style_set": Choice(options=ALL_SETS),
        "style_scheme": Choice(options=SCHEMES),
        "content_layer": Choice(
            options=("relu1_2", "relu2_2", "relu3_2", "relu4_2", "conv4_2", "conv5_2")
        ),
        "tv": Choice(options=("off", "on")),
        "tv_weight": Float(low=1e0, high=1e4, log=True, when={"tv": ("on",)}),
    },
    fixed=GRAM.fixed,
    initial_points=(
        {
            "init": "content",
            "log10_style_content@content": 0.0,
            "lr": 0.03,
            "style_set": "relu1_1-5_1",
            "style_scheme": "shallow",
            "content_layer": "relu3_2",
            "tv": "off",
        },
        {
            "init": "content",
            "log10_style_content@content": 1.5,
            "lr": 0.015,
            "style_set": "relu1_1-5_1",
            "style_scheme": "shallow",
            "content_layer": "relu2_2",
            "tv": "on",
            "tv_weight": 200.0,
        },
        {"init": "noise", "lr": 0.03},
    ),
)

WIDE = Space(
    name="wide",
    why=(
        "Nearly all settings of the engine on VGG16. It includes three style losses, poolings,"
        " paddings, four optimizers with their own ranges of learning rates, schedules, start"
        " images, several scales, and recolored styles. At equal weights the gradient of"
        " `mean_cov` is about 0.4 times that of `gram`, and that of `wasserstein` 0.2 to 0.5"
        " times (three sample pairs, 96 and 192 px), so one range of the ratio is enough for"
        " all three. The space needs a few hundred trials; begin with `gram`."
    ),
    params={
        "log10_style_content": Float(low=-1.5, high=3.0),
        "style_loss": options("style_loss"),
        "style_set": Choice(options=SETS),
        "style_scheme": Choice(options=SCHEMES),
        "content_layer": Choice(options=("relu2_2", "relu3_2", "relu4_2")),
        "pooling": options("pooling"),
        "padding": options("padding"),
        "optimizer": options("optimizer", "sgd"),
        "lr@adam": Float(low=0.005, high=0.2, log=True, when={"optimizer": ("adam",)}),
        "lr@adamw": Float(low=0.005, high=0.2, log=True, when={"optimizer": ("adamw",)}),
        "lr@lamb": Float(low=0.005, high=0.2, log=True, when={"optimizer": ("lamb",)}),
        "lr@lbfgs": Float(low=0.2, high=1.0, log=True, when={"optimizer": ("lbfgs",)}),
        "beta2": Float(low=0.9, high=0.999, when={"optimizer": ("adam", "adamw", "lamb")}),
        "weight_decay": Float(low=1e-3, high=1.0, log=True, when={"optimizer": ("adamw", "lamb")}),
        "lr_schedule": options("lr_schedule"),
        "weight_schedule": options("weight_schedule", "balance"),
        "tv": Choice(options=("off", "on")),
        "tv_weight": Float(low=1e1, high=1e3, log=True, when={"tv": ("on",)}),
        "color": Choice(options=("off", "on")),
        "color_weight": Float(low=1e0, high=1e3, log=True, when={"color": ("on",)}),
        "match_colors": options("match_colors"),
        "style_scale": Float(low=0.5, high=1.5),
        "init": options("init", "image", "feed_forward"),
        "init_noise": Float(low=0.05, high=0.8, when={"init": ("mix",)}),
        "scales": Int(low=1, high=4),
        "keep": options("keep"),
    },
    fixed={"extractor": "vgg16", "content_weight": 1.0, "color_loss": "histogram"},
)
