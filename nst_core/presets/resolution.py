"""A configuration tuned at one size, for another size. No torch here.

Losses are means and Gram matrices are divided by positions, so weights carry over. A network sees
a fixed number of pixels, so on a larger picture strokes would come out smaller: the run goes
through the tuned size first, with the tuned steps, and then through larger ones, which are to add
detail only (Gatys et al., CVPR 2017, section 6; sizes sqrt(2) apart as in
crowsonkb/style-transfer-pytorch).

At a larger size the network sees more of the photo's detail and less of a stroke, so with the tuned
settings the added sizes turn the strokes back into the photo, with a tint over it. A style weight
that grows with the factor, to twice the tuned one, keeps the result as far from the photo as the
tuned one is, and its strokes sharp; four times the weight at four times the size overshoots. A
learning rate that falls towards the end keeps the added sizes from repainting, too, but leaves them
blurred (`python -m benchmarks.resolution` measures the weight).

Neighboring pixels of a smaller picture differ more, so there the total variation is weighed down
to count the same. It is not weighed up where larger sizes are added: the tuned size, which the run
goes through, would be smoothed too much.

A mean's gradient shrinks with the number of pixels. Every optimizer but gradient descent makes up
for that by itself; its learning rate is fitted to the size that the run begins at, so the sizes
that are added move less. On a smaller picture strokes come out larger: there is no smaller network
to go through.
"""

from __future__ import annotations

import math

from nst_core.config import FIELDS, SCALE_STEP, StyleConfig

#: The style weighs at most so many times more at a larger size.
MOST_STYLE = 2.0


def at_size(config: StyleConfig, size_px: int) -> tuple[StyleConfig, str | None]:
    """The configuration for results of another size, and what was changed, in a sentence.

    Args:
        config: tuned at its own ``size_px``.
        size_px: longer side of the results to be.
    """
    factor = size_px / config.size_px
    further = max(0, round(math.log(factor) / math.log(SCALE_STEP)))
    scales = min(config.scales + further, FIELDS["scales"].metadata["high"])
    # The first size takes two shares of the steps and each other one, so these keep their steps.
    longer = (scales + 1) / (config.scales + 1)
    changes: dict[str, object] = {"size_px": size_px, "scales": scales}
    said = []
    if longer > 1:
        changes["steps"] = round(config.steps * longer)
        if config.schedule_steps:
            changes["schedule_steps"] = round(config.schedule_steps * longer)
        said.append(f"through {scales} sizes in {changes['steps']} steps, not {config.steps}")
        # Gradient descent would take longer steps by it, and diverge; balancing finds its own.
        weighs = config.optimizer != "sgd" and config.weight_schedule != "balance"
        if config.style_weight and weighs:
            weight = changes["style_weight"] = _within(
                "style_weight", config.style_weight * min(factor, MOST_STYLE)
            )
            said.append(f"style_weight {weight:.3g}, not {config.style_weight:.3g}")
    if config.tv_weight and factor != 1 and longer == 1:
        power = 2 if config.tv_norm == "l2" else 1
        changes["tv_weight"] = _within("tv_weight", config.tv_weight * factor**power)
        said.append(f"tv_weight {changes['tv_weight']:.3g}, not {config.tv_weight:.3g}")
    if config.optimizer == "sgd" and factor != 1:
        # How much larger the first size is now.
        first = factor / SCALE_STEP ** (scales - config.scales)
        changes["lr"] = _within("lr", config.lr * first**2)
        said.append(f"lr {changes['lr']:.3g}, not {config.lr:.3g}")
        if longer > 1:
            said.append("the added sizes move less, as sgd's steps shrink with the area")
    if factor < 1:
        said.append("strokes come out larger relative to the picture, which nothing makes up for")
    if not said:
        return config.replace(**changes), None
    return config.replace(**changes), f"tuned at {config.size_px} px: {'; '.join(said)}"


def _within(key: str, value: float) -> float:
    """The value that a setting may have that is nearest."""
    limits = FIELDS[key].metadata
    return float(min(max(value, limits["low"]), limits["high"]))
