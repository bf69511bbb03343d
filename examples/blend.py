"""Blend two styles in one picture: with equal weights, and with weights 0.2 and 0.8."""

import skimage.data

from nst_core import StyleConfig, save_image, stylize
from nst_core.images.tensors import from_uint8
from nst_core.sample_pictures import sample_content, sample_style

strokes, wheel = sample_style(), from_uint8(skimage.data.colorwheel())
config = StyleConfig(size_px=128, steps=80, lr=0.04, style_weight=20)
for a, b in ((0.5, 0.5), (0.2, 0.8)):
    *_, last = stylize(config, sample_content(), [(strokes, a), (wheel, b)])
    save_image(last.image_3HW, f"blend-{a}-{b}.png")
