"""A preset for other engines: the command or the snippet, and what they cannot repeat."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.images.encode import MADE_BY
from nst_core.lanes.initialization import NOISE_SPREAD
from nst_core.presets.conversions import to_engine_weights
from nst_core.presets.preset import Preset
from tuner.export.script import ONE_STYLE, masks_left_out, shares, weights_left_out
from tuner.export.templates import in_docstring, rendered
from tuner.job.spec import StyleImage

#: What neural-style-pt calls the ways to start that it has.
_NEURAL_STYLE_STARTS = {
    "content": "image",
    "image": "image",
    "noise": "random",
    "style_noise": "random",
}

#: What it calls our poolings. L2 pooling it has not; max pooling gives features of about its size.
_NEURAL_STYLE_POOLINGS = {"max": "max", "average": "avg", "l2": "max"}


@dataclass
class Translation:
    """A preset in the words of an engine.

    Attributes:
        text: the command or the snippet.
        warnings: what has no counterpart there.
    """

    text: str = ""
    warnings: list[str] = field(default_factory=list)

    def lacks(self, condition: object, what: str) -> None:
        """Note that something of the preset is lost."""
        if condition:
            self.warnings.append(what)


def neural_style_pt(
    preset: Preset, styles: Sequence[StyleImage] = ONE_STYLE, *, height: int, width: int
) -> Translation:
    """The command of ProGamerGov/neural-style-pt.

    Args:
        preset: to be translated.
        styles: style images that it was tuned with.
        height: of the result in pixels, since its weights are of sums over pixels.
        width: likewise.

    Raises:
        InputError: it has no such network or style loss.
    """
    config, found = preset.config, Translation()
    if config.extractor not in ("vgg16", "vgg19"):
        raise InputError(f"neural-style-pt has no {config.extractor}; it reads vgg16 and vgg19")
    weights = to_engine_weights(config, "neural-style-pt", height=height, width=width)
    _common_losses(found, preset, styles)
    _neural_style_losses(found, config)
    found.lacks(
        preset.weights_file is None,
        f"its networks are Caffe's, with other weights than torchvision's {config.extractor}:"
        " expect the same style, not the same picture",
    )
    found.lacks(weights.tv_weight is None, f"no total variation {config.tv_norm}: left out")
    files = {"vgg16": "vgg16-00b39a1b", "vgg19": "vgg19-d01eb7cb"}
    blend = shares(config, styles)
    options: dict[str, object] = {
        "model_file": f"models/{files[config.extractor]}.pth",
        "content_image": "CONTENT",
        "style_image": ",".join(f"STYLE{k}" for k, _ in enumerate(blend, 1)),
        "output_image": "RESULT.png",
        "image_size": config.size_px,
        "num_iterations": config.steps,
        "content_layers": ",".join(weights.content_layers),
        "content_weight": _one(found, "content", weights.content_layers),
        "style_layers": ",".join(weights.style_layers),
        "style_weight": _one(found, "style", weights.style_layers),
        "tv_weight": _short(weights.tv_weight or 0.0),
        "optimizer": "lbfgs" if config.optimizer == "lbfgs" else "adam",
        "learning_rate": _short(weights.lr if weights.lr is not None else config.lr * 256),
        "init": _NEURAL_STYLE_STARTS.get(config.init, "image"),
        "pooling": _NEURAL_STYLE_POOLINGS[config.pooling],
        "style_scale": _short(config.style_scale),
        "original_colors": int(config.preserve_color != "none"),
        "seed": config.seed,
    }
    if config.optimizer == "lbfgs":
        options["lbfgs_num_correction"] = config.lbfgs_history
    if config.init == "image":
        options["init_image"] = "START"
    if len(blend) > 1:
        options["style_blend_weights"] = ",".join(map(_short, blend))
    words = [f"-{name} {shlex.quote(str(value))}" for name, value in options.items()]
    command = " \\\n  ".join(["python neural_style.py", *words])
    found.text = f"# {MADE_BY}\n{command}\n"
    return found


def pystiche(
    preset: Preset, styles: Sequence[StyleImage] = ONE_STYLE, *, height: int, width: int
) -> Translation:
    """A script for pystiche 1.0.

    Args:
        preset: to be translated.
        styles: style images that it was tuned with.
        height: of the result in pixels.
        width: likewise.

    Raises:
        InputError: it has no such network or style loss.
    """
    config, found = preset.config, Translation()
    if not config.extractor.startswith("vgg"):
        raise InputError(f"pystiche's networks are VGG and AlexNet, not {config.extractor}")
    weights = to_engine_weights(config, "pystiche", height=height, width=width)
    _common_losses(found, preset, styles)
    found.lacks(config.pooling != "max", f"no {config.pooling} pooling: it pools by maximum")
    found.lacks(weights.tv_weight is None, f"no total variation {config.tv_norm}: left out")
    found.lacks(
        config.optimizer not in ("adam", "adamw", "sgd", "lbfgs"),
        f"no optimizer {config.optimizer}: it uses adam",
    )
    found.lacks(config.preserve_color != "none", "it does not keep the content's colours")
    found.lacks(config.style_scale != 1, "the style image has the size of the result")
    blended = len(shares(config, styles))
    found.lacks(blended > 1, f"one style image, where the preset blends {blended}")
    found.lacks(
        config.init not in ("content", "noise"),
        f"no start from {config.init}: it starts from the content",
    )
    found.lacks(config.normalization == "half", "no normalization half: it takes ImageNet's")
    found.text = rendered(
        "pystiche.py.j2",
        c=config,
        name=in_docstring(preset.name),
        framework="caffe" if config.normalization == "caffe" else "torch",
        content_layers=list(weights.content_layers),
        content_weights=list(weights.content_layers.values()),
        style_layers=list(weights.style_layers),
        style_weights=list(weights.style_layers.values()),
        tv_weight=weights.tv_weight,
        optimizer=_optimizer(config),
        noise_spread=NOISE_SPREAD,
    )
    return found


def _common_losses(found: Translation, preset: Preset, styles: Sequence[StyleImage]) -> None:
    """What neither engine has."""
    config = preset.config
    found.warnings += masks_left_out(styles)
    found.warnings += weights_left_out(preset, "this engine reads its own.")
    found.lacks(config.color_weight, "no colour term: color_weight is left out")
    found.lacks(config.photo_weight, "no photorealism term: photo_weight is left out")
    found.lacks(config.match_colors != "none", "it does not recolour the style image first")
    found.lacks(config.padding != "zeros", f"no padding {config.padding}: it pads with zeros")
    found.lacks(config.scales > 1, f"one size only, where the preset goes through {config.scales}")
    found.lacks(config.lr_schedule != "constant", "a constant learning rate, without its schedule")
    found.lacks(config.warmup_steps, "no warm-up")
    found.lacks(config.weight_schedule != "constant", "constant weights, without their schedule")
    found.lacks(config.keep != "last", f"it keeps the last iterate, not the {config.keep}")
    found.lacks(config.precision != "float32", f"it computes in float32, not {config.precision}")


def _neural_style_losses(found: Translation, config: StyleConfig) -> None:
    """What neural-style-pt alone does not have."""
    found.lacks(config.pooling == "l2", "no l2 pooling: it pools by maximum")
    found.lacks(
        config.pooling == "average",
        "its average pooling does not double what it pools: the weights make up for that, but its"
        " network's biases count for more below each pooling",
    )
    found.lacks(
        config.normalization != "caffe",
        f"no normalization {config.normalization}: it gives its networks what Caffe's expect",
    )
    found.lacks(
        config.optimizer not in ("adam", "lbfgs"), f"no optimizer {config.optimizer}: it uses adam"
    )
    found.lacks(
        config.optimizer != "lbfgs" and (config.beta1, config.beta2) != (0.9, 0.999),
        f"beta1 and beta2 are 0.9 and 0.999, not {config.beta1:g} and {config.beta2:g}",
    )
    found.lacks(config.clamp == "step", "it clamps pixels at the end only, not after each step")
    found.lacks(
        config.init not in _NEURAL_STYLE_STARTS,
        f"no start from {config.init}: it starts from the content",
    )
    found.lacks(
        config.init in ("noise", "style_noise"),
        f"its noise is grey and faint, another start than {config.init}",
    )
    found.lacks(
        config.preserve_color == "luminance",
        "it puts the content's colours on the result, where the preset stylizes brightness alone",
    )


def _one(found: Translation, term: str, weights: Mapping[str, float]) -> str:
    """One weight for all layers: their geometric mean, where they are not equal."""
    if not weights:
        return "0"
    mean = math.exp(sum(map(math.log, weights.values())) / len(weights))
    unequal = max(weights.values()) / min(weights.values()) > 1.001
    found.lacks(
        unequal,
        f"one weight for all {term} layers, where the preset's differ by up to"
        f" {max(weights.values()) / min(weights.values()):.3g} times there: their geometric mean",
    )
    return _short(mean)


def _short(value: float) -> str:
    return f"{value:.6g}"


def _optimizer(config: StyleConfig) -> str:
    match config.optimizer:
        case "sgd":
            return f"torch.optim.SGD([image], lr={config.lr!r}, momentum={config.momentum!r})"
        case "lbfgs":
            return (
                f"torch.optim.LBFGS([image], lr={config.lr!r}, max_iter=1,"
                f" history_size={config.lbfgs_history})"
            )
        case "adamw":
            kind, decay = "AdamW", f", weight_decay={config.weight_decay!r}"
        case _:
            kind, decay = "Adam", ""
    betas = f"({config.beta1!r}, {config.beta2!r})"
    return f"torch.optim.{kind}([image], lr={config.lr!r}, betas={betas}{decay})"
