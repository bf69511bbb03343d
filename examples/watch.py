"""Watch a stylization every 20 steps, and stop when the loss falls by less than a tenth."""

from nst_core import Outcome, StyleConfig, save_image, stylize
from nst_core.sample_pictures import sample_content, sample_style

config = StyleConfig(size_px=128, steps=200, lr=0.03)
previous_loss = float("inf")
for step in stylize(config, sample_content(), [(sample_style(), 1.0)], every=20):
    print(f"{step.step:4d} {step.losses['total']:10.3f} {step.outcome.value}")
    if step.outcome is not Outcome.RUNNING or step.losses["total"] > 0.9 * previous_loss:
        break
    previous_loss = step.losses["total"]
save_image(step.image_3HW, "watch.png")
