"""Export to neural-style-pt: a preset as a command of ProGamerGov/neural-style-pt."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.images.encode import MADE_BY
from nst_core.presets.conversions import EngineWeights, to_engine_weights
from nst_core.presets.preset import Preset
from tuner.export.script import ONE_STYLE, masks_left_out, style_shares, weights_left_out
from tuner.job.spec import StyleImage

#: Network -> weights file that neural-style-pt downloads.
_MODEL_FILES = {"vgg16": "models/vgg16-00b39a1b.pth", "vgg19": "models/vgg19-d01eb7cb.pth"}

#: Our `init` -> option `-init`.
_INITS = {"content": "image", "image": "image", "noise": "random", "style_noise": "random"}

#: Our pooling -> option `-pooling`. neural-style-pt has no L2 pooling; the features of max pooling
#: have about the same size.
_POOLINGS = {"max": "max", "average": "avg", "l2": "max"}

#: Weights of layers that differ by a smaller ratio than this are called equal.
_EQUAL_RATIO = 1.001


def neural_style_pt(
    preset: Preset, styles: Sequence[StyleImage] = ONE_STYLE, *, height: int, width: int
) -> tuple[str, list[str]]:
    """Return the shell command, and a warning for each part of the preset that it cannot repeat.

    Args:
        preset: the preset to export.
        styles: style images that the preset was tuned with.
        height: height of the result in pixels; neural-style-pt's weights belong to sums over
            pixels.
        width: width of the result in pixels.

    Raises:
        InputError: neural-style-pt does not have the preset's network or style loss.
    """
    config = preset.config
    if config.extractor not in _MODEL_FILES:
        raise InputError(
            f"neural-style-pt has no network {config.extractor}; expected"
            f" {' or '.join(_MODEL_FILES)}; use --format script instead"
        )
    weights = to_engine_weights(config, "neural-style-pt", height=height, width=width)
    warnings = [
        *masks_left_out(styles),
        *weights_left_out(preset, "neural-style-pt uses its own weights."),
        *_missing_losses(config),
        *_missing_optimization(config),
        *_unequal("content", weights.content_layers),
        *_unequal("style", weights.style_layers),
    ]
    if preset.weights_file is None:
        warnings.append(
            "it uses Caffe's weights, which differ from torchvision's weights of"
            f" {config.extractor}: expect the same style, not the same picture"
        )
    if weights.tv_weight is None:
        warnings.append(f"no total variation {config.tv_norm}: tv_weight is left out")
    options = _options(config, weights, style_shares(config, styles))
    words = [f"-{name} {shlex.quote(str(value))}" for name, value in options.items()]
    command = " \\\n  ".join(["python neural_style.py", *words])
    return f"# {MADE_BY}\n{command}\n", warnings


def _options(
    config: StyleConfig, weights: EngineWeights, shares: Sequence[float]
) -> dict[str, object]:
    """Return the options of `neural_style.py` by name."""
    options: dict[str, object] = {
        "model_file": _MODEL_FILES[config.extractor],
        "content_image": "CONTENT",
        "style_image": ",".join(f"STYLE{number}" for number, _ in enumerate(shares, 1)),
        "output_image": "RESULT.png",
        "image_size": config.size_px,
        "num_iterations": config.steps,
        "content_layers": ",".join(weights.content_layers),
        "content_weight": _short(_geometric_mean(weights.content_layers)),
        "style_layers": ",".join(weights.style_layers),
        "style_weight": _short(_geometric_mean(weights.style_layers)),
        "tv_weight": _short(weights.tv_weight or 0.0),
        "optimizer": "lbfgs" if config.optimizer == "lbfgs" else "adam",
        # Pixels of neural-style-pt go from 0 to 255.
        "learning_rate": _short(weights.lr if weights.lr is not None else config.lr * 256),
        "init": _INITS.get(config.init, "image"),
        "pooling": _POOLINGS[config.pooling],
        "style_scale": _short(config.style_scale),
        "original_colors": int(config.preserve_color != "none"),
        "seed": config.seed,
    }
    if config.optimizer == "lbfgs":
        options["lbfgs_num_correction"] = config.lbfgs_history
    if config.init == "image":
        options["init_image"] = "START"
    if len(shares) > 1:
        options["style_blend_weights"] = ",".join(map(_short, shares))
    return options


def _missing_losses(config: StyleConfig) -> list[str]:
    """Return a warning for each setting of the loss and the network that has no counterpart."""
    warnings = {
        "no color term: color_weight is left out": config.color_weight,
        "no photorealism term: photo_weight is left out": config.photo_weight,
        "it does not recolor the style image first": config.match_colors != "none",
        f"no padding {config.padding}: it pads with zeros": config.padding != "zeros",
        "no l2 pooling: it pools by maximum": config.pooling == "l2",
        "its average pooling does not double the features: the weights make up for that, but the"
        " biases of its network count for more below each pooling": config.pooling == "average",
        f"no normalization {config.normalization}: its networks get Caffe's"
        " normalization": config.normalization != "caffe",
        f"it computes in float32, not {config.precision}": config.precision != "float32",
        "constant weights, without their schedule": config.weight_schedule != "constant",
        "it puts the content's colors on the result, whereas the preset stylizes brightness"
        " alone": config.preserve_color == "luminance",
    }
    return [warning for warning, applies in warnings.items() if applies]


def _missing_optimization(config: StyleConfig) -> list[str]:
    """Return a warning for each setting of the optimization that has no counterpart."""
    adam, betas = config.optimizer != "lbfgs", (config.beta1, config.beta2)
    warnings = {
        f"one size only, whereas the preset goes through {config.scales}": config.scales > 1,
        "a constant learning rate, without its schedule": config.lr_schedule != "constant",
        "no warm-up": config.warmup_steps,
        f"it keeps the last iterate, not the {config.keep}": config.keep != "last",
        f"no optimizer {config.optimizer}: it uses adam": adam and config.optimizer != "adam",
        "beta1 and beta2 are 0.9 and 0.999, not {:g} and {:g}".format(*betas): (
            adam and betas != (0.9, 0.999)
        ),
        "it clamps pixels at the end only, not after each step": config.clamp == "step",
        f"no start from {config.init}: it starts from the content": config.init not in _INITS,
        f"its noise is gray and faint, which is another start than {config.init}": (
            _INITS.get(config.init) == "random"
        ),
    }
    return [warning for warning, applies in warnings.items() if applies]


def _unequal(term: str, weights: Mapping[str, float]) -> list[str]:
    """Return a warning if the layers of a term have unequal weights."""
    ratio = max(weights.values()) / min(weights.values()) if weights else 1.0
    if ratio <= _EQUAL_RATIO:
        return []
    return [
        f"one weight for all {term} layers, whereas the weights of the preset differ by up to"
        f" {ratio:.3g} times: their geometric mean is used"
    ]


def _geometric_mean(weights: Mapping[str, float]) -> float:
    return math.exp(sum(map(math.log, weights.values())) / len(weights)) if weights else 0.0


def _short(value: float) -> str:
    return f"{value:.6g}"
