"""The default space: what changes a result most, in ranges that hold at any size."""

from __future__ import annotations

from search_spaces.parameters import Choice, Float, Params
from search_spaces.space import Space

_NAMES = (
    *("log10_style_content", "lr", "init_noise", "style_set", "style_slope"),
    *("content_layer", "tv_weight", "style_scale"),
)


def _from_photo(*values: float | str) -> Params:
    """Return an initial point that starts from the photo: the values of `_NAMES`, in order."""
    return {"init": "mix", **dict(zip(_NAMES, values, strict=True))}


def _from_style(*values: float | str) -> Params:
    """Return an initial point that starts from the style image: as `_from_photo`, without noise."""
    names = [name for name in _NAMES if name != "init_noise"]
    return {"init": "style", **dict(zip(names, values, strict=True))}


STANDARD = Space(
    name="standard",
    why=(
        "The best result of Gatys' loss on VGG16, with few parameters that all matter. The start"
        " image is the photo with a share of noise, from 0 (the photo) to 1 (noise), or the style"
        " image, which won where style and reference are nearly black. The best ratio of style to"
        " content rises with the noise, so its range is wide. Style layers are one of four sets,"
        " shallow or deep, at the first layer of each block or further inside; a slope weights"
        " them. Most winners weight the first layer 8 to 30 times as much as the second, which is"
        " -0.9 to -1.5 decades per layer. Content layers are one of each depth, and conv4_2, which"
        " published systems use. A total variation weight of 1 has no visible effect, and above"
        " 1000 it blurs. A smaller style image gives finer strokes: winners lie between 0.55 and"
        " 2 times the result, which is the largest that the engine takes. Two settings are fixed,"
        " because they helped on both pairs where they were compared (128 px) and cost nothing:"
        " copies of the border pixels as padding of the first convolution, and 0.99 as Adam's"
        " `beta2`. All this comes from the first searches at 64 and 128 px, as do the initial"
        " points; it is not a measured optimum."
    ),
    params={
        "log10_style_content": Float(low=-1.0, high=4.5),
        "lr": Float(low=0.003, high=0.2, log=True),
        "init": Choice(options=("mix", "style")),
        "init_noise": Float(low=0.0, high=1.0, when={"init": ("mix",)}),
        "style_set": Choice(options=("relu1_1-2_1", "relu1_1-4_1", "relu1_2-2_2", "relu1_2-4_3")),
        "style_slope": Float(low=-2.0, high=0.3),
        "content_layer": Choice(options=("relu1_2", "relu2_2", "relu3_2", "relu4_2", "conv4_2")),
        "tv_weight": Float(low=1e0, high=3e3, log=True),
        "style_scale": Float(low=0.35, high=2.0, log=True),
    },
    fixed={
        "extractor": "vgg16",
        "optimizer": "adam",
        "beta2": 0.99,
        "content_weight": 1.0,
        "padding": "replicate_first",
    },
    initial_points=(
        _from_photo(2.0, 0.03, 0.3, "relu1_2-2_2", -0.8, "relu2_2", 10.0, 1.0),
        _from_photo(2.1, 0.025, 0.0, "relu1_2-2_2", -0.9, "relu1_2", 12.0, 0.85),
        _from_photo(1.8, 0.025, 0.15, "relu1_2-2_2", -0.9, "relu2_2", 4.0, 0.85),
        _from_photo(2.9, 0.05, 0.5, "relu1_2-4_3", -0.9, "relu3_2", 20.0, 1.5),
        _from_photo(3.0, 0.02, 0.25, "relu1_2-2_2", -1.1, "relu3_2", 10.0, 0.8),
        _from_photo(1.2, 0.03, 0.05, "relu1_2-4_3", -0.4, "relu2_2", 40.0, 1.0),
        _from_style(0.9, 0.02, "relu1_1-4_1", -0.3, "relu3_2", 70.0, 1.0),
        _from_style(-0.4, 0.008, "relu1_1-4_1", 0.0, "relu4_2", 1000.0, 1.0),
    ),
)
