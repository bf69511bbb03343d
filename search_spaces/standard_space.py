"""The default space: what changes a result most, in ranges that hold at any size."""

from __future__ import annotations

from search_spaces.parameters import Choice, Float, Params
from search_spaces.space import Space

_NAMES = ("init_noise", "style_set", "style_slope", "content_layer", "tv_weight", "style_scale")


def _from_photo(log10_style_content: float, *values: float | str) -> Params:
    """Return an initial point that starts from the photo: the values of `_NAMES`, in order."""
    rest = dict(zip(_NAMES, values, strict=True))
    return {"init": "mix", "log10_style_content": log10_style_content, "lr": 1.0, **rest}


def _from_style(log10_style_content: float, *values: float | str) -> Params:
    """Return an initial point that starts from the style image: as `_from_photo`, without noise."""
    rest = dict(zip(_NAMES[1:], values, strict=True))
    return {"init": "style", "log10_style_content": log10_style_content, "lr": 1.0, **rest}


STANDARD = Space(
    name="standard",
    version=2,
    why=(
        "The best result of Gatys' loss on VGG16, with few parameters that all matter. The start"
        " image is the photo with a share of noise, from 0 (the photo) to 1 (noise), or the style"
        " image, which won where style and reference are nearly black. The best ratio of style to"
        " content rises with the noise, so its range is wide. Style layers are one of five sets,"
        " shallow or deep, at the first layer of each block or further inside; a slope weights"
        " them. Content layers are one of each depth, and conv4_2, which published systems use. A"
        " total variation weight of 1 has no visible effect, and above 1000 it blurs. A smaller"
        " style image gives finer strokes; 2 times the result is the largest that the engine"
        " takes. Three settings are fixed. The optimizer is L-BFGS, whose natural learning rate is"
        " 1: with it, searches were level with those of Adam at 64 and 128 px, better at 256 px,"
        " and slightly worse with references of a feed-forward network. Pixels are clamped only"
        " when an image is saved, which was slightly better on the one pair where it was compared."
        " Copies of the border pixels as padding of the first convolution helped on two of two"
        " pairs. The first initial point follows Gatys' own program: its layers, with weights of 1"
        " / channels² relative to the first, and the photo as start. The others come from winners"
        " of searches at 64 to 256 px; none of this is a measured optimum."
    ),
    params={
        "log10_style_content": Float(low=-1.0, high=4.5),
        "lr": Float(low=0.2, high=1.0, log=True),
        "init": Choice(options=("mix", "style")),
        "init_noise": Float(low=0.0, high=1.0, when={"init": ("mix",)}),
        "style_set": Choice(
            options=("relu1_1-2_1", "relu1_1-4_1", "relu1_1-5_1", "relu1_2-2_2", "relu1_2-4_3")
        ),
        "style_slope": Float(low=-2.0, high=0.3),
        "content_layer": Choice(options=("relu1_2", "relu2_2", "relu3_2", "relu4_2", "conv4_2")),
        "tv_weight": Float(low=1e0, high=3e3, log=True),
        "style_scale": Float(low=0.35, high=2.0, log=True),
    },
    fixed={
        "extractor": "vgg16",
        "optimizer": "lbfgs",
        "clamp": "save",
        "content_weight": 1.0,
        "padding": "replicate_first",
    },
    initial_points=(
        _from_photo(3.0, 0.0, "relu1_1-5_1", -0.6, "relu4_2", 1.0, 1.0),
        _from_photo(2.1, 0.0, "relu1_2-2_2", -0.9, "relu1_2", 12.0, 0.85),
        _from_photo(2.0, 0.3, "relu1_2-2_2", -0.8, "relu2_2", 10.0, 1.0),
        _from_photo(1.8, 0.15, "relu1_2-2_2", -0.9, "relu2_2", 4.0, 0.85),
        _from_photo(2.9, 0.5, "relu1_2-4_3", -0.9, "relu3_2", 20.0, 1.5),
        _from_photo(1.2, 0.05, "relu1_2-4_3", -0.4, "relu2_2", 40.0, 1.0),
        _from_style(0.9, "relu1_1-4_1", -0.3, "relu3_2", 70.0, 1.0),
        _from_style(-0.4, "relu1_1-4_1", 0.0, "relu4_2", 1000.0, 1.0),
    ),
)
