"""Change the style weight during a run: by a ramp, or so that gradients stay in balance."""

from nst_core import StyleConfig, save_image, stylize
from nst_core.sample_pictures import sample_content, sample_style

config = StyleConfig(size_px=128, steps=80, lr=0.04, style_weight=20)
schedules = ({"weight_schedule": "ramp", "ramp_start": 0.01}, {"weight_schedule": "balance"})
for schedule in schedules:
    *_, last = stylize(config.replace(**schedule), sample_content(), [(sample_style(), 1.0)])
    save_image(last.image_3HW, f"dynamic-{schedule['weight_schedule']}.png")
