"""A stylizer as a command: copy it, and replace the middle by your own.

The content is blurred, and its colors move towards those of the style.
"""

import argparse

import numpy as np
from skimage import exposure, filters, io

parser = argparse.ArgumentParser()
parser.add_argument("--content", required=True)
parser.add_argument("--style", required=True)
parser.add_argument("--out", required=True)
parser.add_argument("--sigma", type=float, default=0.0, help="blur in pixels")
parser.add_argument("--colors", type=float, default=1.0, help="share of the style's colors")
parser.add_argument("--contrast", type=float, default=1.0)
options = parser.parse_args()

content = io.imread(options.content)[..., :3] / 255
style = io.imread(options.style)[..., :3] / 255

blurred = filters.gaussian(content, options.sigma, channel_axis=-1)
recolored = exposure.match_histograms(blurred, style, channel_axis=-1)
mixed = (1 - options.colors) * blurred + options.colors * recolored
result = np.clip((mixed - 0.5) * options.contrast + 0.5, 0, 1)

io.imsave(options.out, (result * 255).round().astype(np.uint8), check_contrast=False)
