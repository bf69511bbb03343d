"""The default space: what changes a result most, in ranges that hold at any size."""

from __future__ import annotations

from search_spaces.parameters import Choice, Float
from search_spaces.space import Space

_FROM_CONTENT, _FROM_NOISE = ("content", "mix"), ("noise",)

STANDARD = Space(
    name="standard",
    why=("The best result of Gatys' loss on VGG16. To be measured. And explained."),
    params={
        "init": Choice(options=("content", "mix", "noise")),
        "init_noise": Float(low=0.05, high=0.6, when={"init": ("mix",)}),
        "log10_style_content@content": Float(low=-1.5, high=4.0, when={"init": _FROM_CONTENT}),
        "log10_style_content@noise": Float(low=-2.5, high=2.0, when={"init": _FROM_NOISE}),
        "lr": Float(low=0.003, high=0.3, log=True),
        "style_set": Choice(
            options=(
                *("relu1_1-2_1", "relu1_1-3_1", "relu1_1-5_1"),
                *("relu1_2-2_2", "relu1_2-3_3", "relu1_2-4_3"),
            )
        ),
        "style_slope": Float(low=-1.2, high=0.4),
        "content_layer": Choice(options=("relu1_2", "relu2_2", "relu3_2", "relu4_2", "conv4_2")),
        "tv": Choice(options=("off", "on")),
        "tv_weight": Float(low=1e0, high=1e4, log=True, when={"tv": ("on",)}),
        "style_scale": Float(low=0.5, high=2.0, log=True),
    },
    fixed={
        "extractor": "vgg16",
        "optimizer": "adam",
        "content_weight": 1.0,
        "padding": "replicate_first",
        "beta2": 0.99,
    },
)
