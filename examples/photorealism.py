"""A photo in another photo's light: the matting Laplacian keeps it a photo.

Needs `pip install 'nst-tuner[photorealism]'`, whose first use compiles for about a minute.
"""

import skimage.data

from nst_core import StyleConfig, save_image, stylize
from nst_core.images.tensors import from_uint8

photo, light = from_uint8(skimage.data.coffee()), from_uint8(skimage.data.rocket())
config = StyleConfig(size_px=128, steps=80, lr=0.03, style_weight=30)
for photo_weight in (0, 1e5):
    *_, last = stylize(config.replace(photo_weight=photo_weight), photo, [(light, 1.0)])
    save_image(last.image_3HW, f"photorealism-{photo_weight:g}.png")
