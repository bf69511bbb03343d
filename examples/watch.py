"""stylize() is an iterator: look at every few steps, and stop when it no longer pays."""

from nst_core import Outcome, StyleConfig, save_image, stylize
from nst_core.samples import sample_content, sample_style

config = StyleConfig(size_px=128, steps=200, lr=0.03)
before = float("inf")
for step in stylize(config, sample_content(), [(sample_style(), 1.0)], every=20):
    print(f"{step.step:4d} {step.losses['total']:10.3f} {step.outcome.value}")
    if step.outcome is not Outcome.RUNNING or step.losses["total"] > 0.9 * before:
        break
    before = step.losses["total"]
save_image(step.image_3HW, "watch.png")
