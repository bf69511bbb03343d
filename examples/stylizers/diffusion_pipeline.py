"""How a diffusion pipeline would be wrapped; shown and type-checked, not run by our tests.

Needs: pip install diffusers transformers accelerate
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AutoPipelineForImage2Image
from PIL import Image

from tuner.stylizers.protocol import Params, Picture

#: Sides of pictures must be multiples of this number.
MULTIPLE = 8


class Diffusion:
    """An image-to-image pipeline with an IP-Adapter; each process loads it once."""

    def open(
        self, content: Picture, styles: Sequence[Picture], size_px: int, device: str
    ) -> "DiffusionSession":
        """Return a session for one pair."""
        if not hasattr(self, "pipeline"):
            self.pipeline: Any = AutoPipelineForImage2Image.from_pretrained(
                "stabilityai/stable-diffusion-xl-base-1.0", torch_dtype=torch.float16
            ).to(device)
            self.pipeline.load_ip_adapter(
                "h94/IP-Adapter", subfolder="sdxl_models", weight_name="ip-adapter_sdxl.bin"
            )
        return DiffusionSession(self.pipeline, content, styles[0], device)


class DiffusionSession:
    """The pipeline with the pictures of one pair."""

    def __init__(self, pipeline: Any, content: Picture, style: Picture, device: str):
        self.pipeline, self.device = pipeline, device
        height, width, _ = content.shape
        self.size = width, height
        rounded = [max(MULTIPLE, side // MULTIPLE * MULTIPLE) for side in self.size]
        self.content = Image.fromarray(content).resize((rounded[0], rounded[1]))
        self.style = Image.fromarray(style)

    def start(self, params: Params, seed: int) -> Iterator[tuple[int, Picture]]:
        """Yield one picture, scaled back to the size of the content."""
        self.pipeline.set_ip_adapter_scale(float(params["style_scale"]))
        made = self.pipeline(
            prompt="",
            image=self.content,
            ip_adapter_image=self.style,
            strength=float(params["strength"]),
            guidance_scale=float(params["guidance"]),
            num_inference_steps=int(params["steps_of_pipeline"]),
            generator=torch.Generator(self.device).manual_seed(seed),
        ).images[0]
        yield 1, np.asarray(made.convert("RGB").resize(self.size))
