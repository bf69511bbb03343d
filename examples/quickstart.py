"""Stylize a picture with a built-in preset and save it."""

from nst_core import load_preset, save_image, stylize
from nst_core.sample_pictures import sample_content, sample_style

config = load_preset("adam-1000").config.replace(extractor="vgg16", size_px=128, steps=60)
*_, last = stylize(config, sample_content(), [(sample_style(), 1.0)])
save_image(last.image_3HW, "quickstart.png")
print(f"loss {last.losses['total']:.3g} after {last.step} steps, {last.seconds:.0f} s")
