"""The named search spaces, each with why its ranges are what they are."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.space import STYLE_SCHEMES, STYLE_SETS, Choice, Float, Space

_GRAM = Space(
    name="gram",
    why=(
        "Gatys' loss on VGG16 with Adam. Style and content weight are one degree of freedom under"
        " Adam, so their ratio is searched (four decades around the knee) and the scale is fixed."
        " Learning rates below 0.005 do not move far enough in a few hundred steps, above 0.2 they"
        " only make noise."
    ),
    params={
        "log10_style_content": Float(low=-1.5, high=2.5),
        "lr": Float(low=0.005, high=0.2, log=True),
        "style_set": Choice(options=tuple(STYLE_SETS)),
        "style_scheme": Choice(options=tuple(STYLE_SCHEMES)),
        "content_layer": Choice(options=("relu2_2", "relu3_2", "relu4_2")),
        "tv": Choice(options=("off", "on")),
        "tv_weight": Float(low=1e1, high=1e4, log=True, when={"tv": ("on",)}),
        "init": Choice(options=("content", "noise", "style")),
    },
    fixed={"extractor": "vgg16", "optimizer": "adam", "content_weight": 1.0},
)

CATALOGUE: Mapping[str, Space] = {space.name: space for space in (_GRAM,)}
