"""The named search spaces, each with why its ranges are what they are."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.space import STYLE_SCHEMES, STYLE_SETS, Choice, Float, Space

_GRAM = Space(
    name="gram",
    why=(
        "Gatys' loss on VGG16 with Adam. Style and content weight are one degree of freedom under"
        " Adam, so their ratio is searched (four decades around the knee, which lies between 1 and"
        " 30 with per-pixel Grams) and the scale is fixed. Learning rates below 0.005 do not move"
        " far enough in a few hundred steps, above 0.2 they only make noise. A TV weight below 10"
        " does nothing that shows, above 1000 it blurs. The starts are three that did well on"
        " sample photos and paintings, with references by a feed-forward network (the first two)"
        " and by a long optimization (the last)."
    ),
    params={
        "log10_style_content": Float(low=-1.5, high=2.5),
        "lr": Float(low=0.005, high=0.2, log=True),
        "style_set": Choice(options=tuple(STYLE_SETS)),
        "style_scheme": Choice(options=tuple(STYLE_SCHEMES)),
        "content_layer": Choice(options=("relu2_2", "relu3_2", "relu4_2")),
        "tv": Choice(options=("off", "on")),
        "tv_weight": Float(low=1e1, high=1e3, log=True, when={"tv": ("on",)}),
        "init": Choice(options=("content", "noise", "style")),
    },
    fixed={"extractor": "vgg16", "optimizer": "adam", "content_weight": 1.0},
    starts=(
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

CATALOGUE: Mapping[str, Space] = {space.name: space for space in (_GRAM,)}
