"""Use style transfer for denoising: the content is a noisy photo, the style a similar clean photo.

Total variation smooths the picture, and the style term keeps its texture. RMSE compares the result
with the photo before noise was added.
"""

import torch

from nst_core import StyleConfig, save_image, stylize
from nst_core.images.tensors import resize_longer_side
from nst_core.sample_pictures import sample_content

clean = resize_longer_side(sample_content(), 128)
generator = torch.Generator().manual_seed(0)
noisy = (clean + 0.15 * torch.randn(clean.shape, generator=generator)).clamp(0, 1)
config = StyleConfig(
    size_px=128, steps=80, lr=0.01, content_layers={"relu1_2": 1}, style_weight=0.1, tv_weight=150
)
*_, last = stylize(config, noisy, [(sample_content().flip(2), 1.0)])
save_image(noisy, "noisy.png")
save_image(last.image_3HW, "denoised.png")
rmse = [(image - clean).square().mean().sqrt().item() for image in (noisy, last.image_3HW)]
print(f"RMSE to the clean photo: {rmse[0]:.3f} noisy, {rmse[1]:.3f} denoised")
