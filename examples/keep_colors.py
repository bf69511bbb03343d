"""Keep the colors of a photo in three ways.

Stylize only the brightness, restore the hues of the photo afterwards, or recolor the style image
first.
"""

from nst_core import StyleConfig, save_image, stylize
from nst_core.sample_pictures import sample_content, sample_style

config = StyleConfig(size_px=128, steps=80, lr=0.04, style_weight=20)
ways = ({"preserve_color": "luminance"}, {"preserve_color": "after"}, {"match_colors": "mean_cov"})
for way in ways:
    *_, last = stylize(config.replace(**way), sample_content(), [(sample_style(), 1.0)])
    save_image(last.image_3HW, f"keep-{'-'.join(way.values())}.png")
