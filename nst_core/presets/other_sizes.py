"""Resolution: adapting a configuration that was tuned at one size to another size.

This module does not load torch.

Losses are means and Gram matrices are divided by the number of positions, so weights stay valid at
other sizes. But the receptive field of a network is a fixed number of pixels, so that strokes would
be smaller relative to a larger picture. Therefore a run starts at the tuned size with the tuned
number of steps, and continues at larger sizes that only add detail (Gatys et al., CVPR 2017,
section 6; each size is sqrt(2) times the one before, as in crowsonkb/style-transfer-pytorch).

At a larger size the receptive field contains more detail of the photo and a smaller part of a
stroke. With the tuned settings, the added sizes turn the strokes back into a tinted photo. So the
style weight grows with the factor of the size, up to twice the tuned weight: this keeps the
result's distance from the photo, and its strokes stay sharp. Four times the weight at four times
the size is too much. A falling learning rate preserves the strokes as well, but blurs them
(`python -m benchmarks.resolution` measures the weight).

Neighboring pixels of a smaller picture differ more, so the weight of the total variation is reduced
there. It is not increased for larger pictures, because the tuned size, at which the run starts,
would become too smooth.

The gradient of a mean shrinks with the number of pixels. All optimizers except gradient descent
compensate for that. The learning rate of gradient descent is adapted to the first size of the run,
so that pixels change less at the added sizes. On a smaller picture strokes are larger, and nothing
here prevents that.
"""

from __future__ import annotations

import math

from nst_core.config import FIELDS, SCALE_STEP, StyleConfig

#: Largest factor by which the style weight grows.
MOST_STYLE = 2.0


def at_size(config: StyleConfig, size_px: int) -> tuple[StyleConfig, str | None]:
    """Return the configuration for another size, and a sentence about the changes.

    Args:
        config: configuration that was tuned at its own ``size_px``.
        size_px: longer side of the new results in pixels.

    Returns:
        The adapted configuration; and the sentence, or None if only the size was changed.
    """
    factor = size_px / config.size_px
    further = max(0, round(math.log(factor) / math.log(SCALE_STEP)))
    scales = min(config.scales + further, FIELDS["scales"].metadata["high"])
    # The first size takes two shares of the steps, each other size one share.
    longer = (scales + 1) / (config.scales + 1)
    changes: dict[str, object] = {"size_px": size_px, "scales": scales}
    changed = []
    if longer > 1:
        changes["steps"] = round(config.steps * longer)
        if config.schedule_steps:
            changes["schedule_steps"] = round(config.schedule_steps * longer)
        changed.append(f"through {scales} sizes in {changes['steps']} steps, not {config.steps}")
        # Gradient descent would take longer steps and diverge; `balance` sets the weight itself.
        weight_counts = config.optimizer != "sgd" and config.weight_schedule != "balance"
        if config.style_weight and weight_counts:
            weight = changes["style_weight"] = _within(
                "style_weight", config.style_weight * min(factor, MOST_STYLE)
            )
            changed.append(f"style_weight {weight:.3g}, not {config.style_weight:.3g}")
    if config.tv_weight and factor != 1 and longer == 1:
        power = 2 if config.tv_norm == "l2" else 1
        changes["tv_weight"] = _within("tv_weight", config.tv_weight * factor**power)
        changed.append(f"tv_weight {changes['tv_weight']:.3g}, not {config.tv_weight:.3g}")
    if config.optimizer == "sgd" and factor != 1:
        # Ratio of the new first size to the tuned one.
        first = factor / SCALE_STEP ** (scales - config.scales)
        changes["lr"] = _within("lr", config.lr * first**2)
        changed.append(f"lr {changes['lr']:.3g}, not {config.lr:.3g}")
        if longer > 1:
            changed.append(
                "pixels change less at the added sizes, because sgd's steps shrink with the area"
            )
    if factor < 1:
        changed.append("strokes are larger relative to the picture, which is not corrected")
    if not changed:
        return config.replace(**changes), None
    return config.replace(**changes), f"tuned at {config.size_px} px: {'; '.join(changed)}"


def _within(key: str, value: float) -> float:
    """Return the nearest value in the range of a setting."""
    limits = FIELDS[key].metadata
    return float(min(max(value, limits["low"]), limits["high"]))
