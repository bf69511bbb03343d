"""StyleConfig: all settings of one stylization, validated. This module does not load torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nst_core.errors import ConfigError, near_miss
from nst_core.networks.registry import EXTRACTORS, NETWORKS, Backbone

#: Minimum length of an image's shorter side; the poolings of the LPIPS network need this much.
MIN_SIDE_PX = 32
MAX_SIZE_PX = 8192

#: Ratio of two consecutive scales of a multi-scale run.
SCALE_STEP = math.sqrt(2)


def _choice(*options: str) -> Any:
    return field(default=options[0], metadata={"options": options})


def _number(default: float | None, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _optional(low: float, high: float) -> Any:
    return field(default=None, metadata={"low": low, "high": high, "optional": True})


def _layers() -> Any:
    return field(default=None, metadata={"layers": True})


def _weights(low: float, high: float) -> Any:
    meta = {"weights": True, "low": low, "high": high, "optional": True}
    return field(default=None, metadata=meta)


#: Default learning rate of each optimizer, for pixels in [0, 1].
DEFAULT_LR: Mapping[str, float] = {
    "adam": 0.02,
    "adamw": 0.02,
    "sgd": 0.01,
    "lamb": 0.02,
    "lbfgs": 1.0,
}


def is_random(config: StyleConfig) -> bool:
    """Return whether ``config.seed`` has an effect; only noise in the start image is random."""
    if config.init == "mix":
        return config.init_noise > 0
    return config.init in ("noise", "style_noise")


@dataclass(frozen=True, kw_only=True)
class StyleConfig:
    """All settings of one stylization (Gatys, Ecker, Bethge, CVPR 2016, and successors).

    The loss of one image is ``content_weight * sum_l c_l * content_l + style_weight * sum_l s_l *
    style_l + tv_weight * tv + color_weight * color + photo_weight * photo``, with the terms of
    `nst_core.losses.functional` and the layer weights ``c_l`` and ``s_l`` below. Do not change the
    mappings of an instance.

    Attributes:
        extractor: network whose features are read, one of `networks.EXTRACTORS`.
        normalization: how pixels enter the network; ``imagenet`` mean and standard deviation,
            ``half`` (0.5 and 0.5), or ``caffe`` (BGR, 0 to 255, minus the mean).
        pooling: ``max`` as trained, ``average`` (smoother, Gatys et al.), or ``l2``.
        padding: values that convolutions see beyond the border: ``zeros`` as trained, or a copy of
            the border pixels, in the first convolution (``replicate_first``) or in all.
        precision: number format of the network; losses, Gram matrices and pixels stay float32.
            ``tf32`` has an effect on CUDA only; ``float16`` scales its losses.
        content_layers: layer -> weight >= 0, at least one layer; the default depends on the
            network.
        style_layers: layer -> weight >= 0, at least one layer; the default depends on the network.
        content_weight: factor of the content term, >= 0.
        style_weight: factor of the style term, >= 0.
        style_loss: statistics of the features that are compared: ``gram`` matrices, mean and
            covariance (``mean_cov``), or the ``wasserstein`` distance of the Gaussians with this
            mean and covariance.
        gram: Gram normalization; ``per_pixel`` divides F F^T by H*W, ``per_element`` by C*H*W.
        style_blend: weight of each style image, > 0, in the order of the images. The default are
            the weights that the images are passed with; a feed-forward start always uses those.
        style_scale: size of the style image relative to the result; below 1 gives finer strokes.
        tv_weight: factor of the total variation, >= 0; 0 turns it off.
        tv_norm: total variation of squared (``l2``) or absolute (``l1``) differences.
        color_weight: factor of the color term, which compares colors with the style's, >= 0.
        color_loss: compares the ``mean`` color or the ``histogram`` of each channel.
        photo_weight: factor of the matting Laplacian, which keeps the result photorealistic, >= 0.
        preserve_color: keep the content's colors: ``luminance`` stylizes only the brightness,
            ``after`` applies the content's hues to the finished result.
        match_colors: recolor the style image like the content before the first step, by ``mean``,
            by mean and covariance (``mean_cov``), or by ``histogram``.
        optimizer: algorithm that updates the pixels.
        lr: learning rate in units of the pixel range [0, 1] per step, > 0; the default is that of
            the optimizer in `DEFAULT_LR`.
        beta1: decay of the mean gradient (adam, adamw, lamb), in [0, 1).
        beta2: decay of the mean squared gradient (adam, adamw, lamb), in [0, 1).
        momentum: momentum of sgd, in [0, 1).
        weight_decay: decay of the pixels to black per step, relative to ``lr`` (adamw, lamb), >= 0.
        lbfgs_history: number of steps that L-BFGS remembers; each takes the memory of two images.
        steps: optimizer steps, >= 1.
        schedule_steps: length of the schedules and of the multi-scale plan, >= ``steps``; None
            means ``steps``. A result from the middle of a run keeps the plan of the full run.
        lr_schedule: ``constant``, or ``cosine`` to zero.
        warmup_steps: the learning rate rises linearly over this many steps.
        weight_schedule: schedule of the style weight: ``constant``; ``ramp`` rises from
            ``ramp_start`` times the weight to the weight; ``balance`` keeps the gradient norm of
            the style term at ``balance_ratio`` times that of the content term.
        ramp_start: see ``weight_schedule``, >= 0.
        balance_ratio: see ``weight_schedule``, > 0.
        init: image that the optimization starts from; ``mix`` is content with a share
            ``init_noise`` of noise, ``style_noise`` is noise with the mean and covariance of the
            style's colors, ``feed_forward`` is the result of a network, ``image`` a given picture.
        init_noise: share of noise in ``mix``, in [0, 1].
        seed: seed of noise.
        size_px: longer side of the result in pixels; the shorter side follows from the content.
        scales: number of sizes of a multi-scale run, each sqrt(2) times the one before; the first
            size takes two shares of the steps, the others one share.
        clamp: limit pixels to [0, 1] after each ``step``, or only when the image is ``save``d.
        keep: which iterate is the result: the ``last``, the ``best`` by its loss, or the moving
            average of all (``ema``).
        ema_decay: decay of the moving average, in [0, 1).

    Raises:
        ConfigError: a setting is invalid; the error lists all problems.
    """

    extractor: str = _choice(*EXTRACTORS)
    normalization: str = _choice("imagenet", "half", "caffe")
    pooling: str = _choice("max", "average", "l2")
    padding: str = _choice("zeros", "replicate_first", "replicate")
    precision: str = _choice("float32", "tf32", "bfloat16", "float16")

    content_layers: Mapping[str, float] = _layers()
    style_layers: Mapping[str, float] = _layers()
    content_weight: float = _number(1.0, 0.0, 1e12)
    style_weight: float = _number(10.0, 0.0, 1e12)
    style_loss: str = _choice("gram", "mean_cov", "wasserstein")
    gram: str = _choice("per_pixel", "per_element")
    style_blend: tuple[float, ...] | None = _weights(1e-6, 1e6)
    style_scale: float = _number(1.0, 0.1, 2.0)
    tv_weight: float = _number(0.0, 0.0, 1e12)
    tv_norm: str = _choice("l2", "l1")
    color_weight: float = _number(0.0, 0.0, 1e12)
    color_loss: str = _choice("mean", "histogram")
    photo_weight: float = _number(0.0, 0.0, 1e12)
    preserve_color: str = _choice("none", "luminance", "after")
    match_colors: str = _choice("none", "mean", "mean_cov", "histogram")

    optimizer: str = _choice("adam", "adamw", "sgd", "lamb", "lbfgs")
    lr: float = _number(None, 1e-8, 1e8)
    beta1: float = _number(0.9, 0.0, 0.9999)
    beta2: float = _number(0.999, 0.0, 0.999999)
    momentum: float = _number(0.9, 0.0, 0.9999)
    weight_decay: float = _number(0.01, 0.0, 1e3)
    lbfgs_history: int = _number(10, 1, 100)
    steps: int = _number(300, 1, 100_000)
    schedule_steps: int | None = _optional(1, 100_000)
    lr_schedule: str = _choice("constant", "cosine")
    warmup_steps: int = _number(0, 0, 100_000)
    weight_schedule: str = _choice("constant", "ramp", "balance")
    ramp_start: float = _number(0.1, 0.0, 1e6)
    balance_ratio: float = _number(1.0, 1e-6, 1e6)

    init: str = _choice("content", "noise", "style", "style_noise", "mix", "feed_forward", "image")
    init_noise: float = _number(0.5, 0.0, 1.0)
    seed: int = _number(0, 0, 2**63 - 1)
    size_px: int = _number(256, MIN_SIDE_PX, MAX_SIZE_PX)
    scales: int = _number(1, 1, 12)
    clamp: str = _choice("step", "save")
    keep: str = _choice("last", "best", "ema")
    ema_decay: float = _number(0.99, 0.0, 0.9999)

    def __post_init__(self) -> None:
        for key, value in _dependent_defaults(self.extractor, self.optimizer).items():
            if getattr(self, key) is None:
                object.__setattr__(self, key, value)
        problems = _problems(dataclasses.asdict(self))
        if problems:
            raise ConfigError("configuration", problems)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "configuration") -> StyleConfig:
        """Build a configuration from plain JSON values.

        Args:
            values: some or all fields.
            source: name of the origin of the values, for error messages.

        Raises:
            ConfigError: a field is unknown or invalid; the error lists all problems.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(source, [f"expected an object of settings, got {values!r}"])
        problems = [
            f"`{key}`: no such setting{near_miss(key, FIELDS)}"
            for key in values
            if key not in FIELDS
        ]
        known = {key: value for key, value in values.items() if key in FIELDS}
        defaults = dataclasses.asdict(cls())
        chosen = {key: known.get(key, defaults[key]) for key in ("extractor", "optimizer")}
        problems += _problems({**defaults, **_dependent_defaults(**chosen), **known})
        if problems:
            raise ConfigError(source, problems)
        return cls(**{key: _plain(key, value) for key, value in known.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON values."""
        blend = None if self.style_blend is None else list(self.style_blend)
        return {**dataclasses.asdict(self), "style_blend": blend}

    def replace(self, **changes: Any) -> StyleConfig:
        """Return a validated copy with changed fields."""
        return StyleConfig.from_dict({**self.to_dict(), **changes})

    def stopped_at(self, steps: int) -> StyleConfig:
        """Return the configuration whose final result is this one's state after ``steps`` steps."""
        planned = self.scales > 1 or self.lr_schedule != "constant"
        planned = planned or self.weight_schedule == "ramp"
        horizon = self.horizon if planned and steps != self.horizon else None
        return self.replace(steps=steps, schedule_steps=horizon)

    @property
    def horizon(self) -> int:
        """Number of steps that schedules and scales are spread over."""
        return self.schedule_steps or self.steps

    @property
    def backbone(self) -> Backbone:
        """Network with its pooling and padding."""
        return Backbone(self.extractor, self.pooling, self.padding)

    @property
    def layers(self) -> tuple[str, ...]:
        """Content and style layers that the loss reads, in forward order."""
        terms = (
            (self.content_weight, self.content_layers),
            (self.style_weight, self.style_layers),
        )
        used = {
            layer
            for factor, weights in terms
            for layer, weight in weights.items()
            if factor * weight > 0
        }
        return tuple(layer for layer in NETWORKS[self.extractor].layers if layer in used)


FIELDS: Mapping[str, dataclasses.Field[Any]] = {
    spec.name: spec for spec in dataclasses.fields(StyleConfig)
}


def _dependent_defaults(extractor: Any, optimizer: Any) -> dict[str, Any]:
    """Return defaults that depend on other settings; none where these are invalid."""
    defaults: dict[str, Any] = {}
    if extractor in EXTRACTORS:
        network = NETWORKS[extractor]
        share = 1 / len(network.style_layers)
        defaults["content_layers"] = {network.content_layer: 1.0}
        defaults["style_layers"] = dict.fromkeys(network.style_layers, share)
    if isinstance(optimizer, str) and optimizer in DEFAULT_LR:
        defaults["lr"] = DEFAULT_LR[optimizer]
    return defaults


def _plain(key: str, value: Any) -> Any:
    """Convert a valid JSON value to the declared type of the field, such as int to float."""
    if FIELDS[key].metadata.get("layers"):
        return {layer: float(weight) for layer, weight in value.items()}
    if FIELDS[key].metadata.get("weights"):
        return None if value is None else tuple(map(float, value))
    return float(value) if FIELDS[key].type == "float" else value


def is_whole(key: str) -> bool:
    """Return whether a field of `StyleConfig` takes whole numbers only."""
    return str(FIELDS[key].type).startswith("int")


def _problems(values: Mapping[str, Any]) -> list[str]:
    problems = [p for key, value in values.items() for p in _field_problems(key, value, values)]
    return problems or _combination_problems(values)


def _combination_problems(values: Mapping[str, Any]) -> list[str]:
    problems = []
    if not any(w > 0 for w in values["style_layers"].values()):
        problems.append("`style_layers`: expected at least one layer with a weight above 0")
    content = values["content_weight"] and any(w > 0 for w in values["content_layers"].values())
    if not (content or values["style_weight"]):
        problems.append(
            "`style_weight`: expected above 0 where `content_weight` or all `content_layers` are 0"
        )
    if values["weight_schedule"] == "balance" and not (content and values["style_weight"]):
        problems.append(
            "`weight_schedule`: balance needs `content_weight`, one of `content_layers` and"
            " `style_weight` above 0"
        )
    if values["schedule_steps"] is not None and values["schedule_steps"] < values["steps"]:
        problems.append(
            f"`schedule_steps`: expected at least `steps` ({values['steps']}),"
            f" got {values['schedule_steps']}"
        )
    return problems


def _field_problems(key: str, value: Any, values: Mapping[str, Any]) -> list[str]:
    meta = FIELDS[key].metadata
    if "options" in meta:
        if value in meta["options"]:
            return []
        hint = near_miss(value, meta["options"])
        return [f"`{key}`: {value!r} is not one of {', '.join(meta['options'])}{hint}"]
    if "layers" in meta:
        return _layer_problems(key, value, values.get("extractor"))
    if value is None and meta.get("optional"):
        return []
    if "weights" in meta:
        return _weights_problems(key, value, meta["low"], meta["high"])
    return _number_problems(key, value, meta["low"], meta["high"], is_whole(key))


def _number_problems(key: str, value: Any, low: float, high: float, whole: bool) -> list[str]:
    kind = "a whole number" if whole else "a number"
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        return [f"`{key}`: expected {kind} from {low:g} to {high:g}, got {value!r}"]
    return []


def _weights_problems(key: str, value: Any, low: float, high: float) -> list[str]:
    if not isinstance(value, (list, tuple)) or not value:
        return [f"`{key}`: expected a list of weights, such as [1, 3], got {value!r}"]
    return [
        problem
        for index, weight in enumerate(value)
        for problem in _number_problems(f"{key}.{index}", weight, low, high, whole=False)
    ]


def _layer_problems(key: str, value: Any, extractor: Any) -> list[str]:
    if not isinstance(value, Mapping) or not value:
        return [f"`{key}`: expected layers with weights, such as {{relu4_2: 1}}, got {value!r}"]
    problems = []
    network = NETWORKS.get(extractor) if extractor in EXTRACTORS else None
    for layer, weight in value.items():
        if network and (problem := network.problem_with(layer)):
            problems.append(f"`{key}`: {problem}")
        problems += _number_problems(f"{key}.{layer}", weight, 0.0, 1e12, whole=False)
    return problems
