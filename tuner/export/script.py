"""A preset as one readable Python file that needs torch, torchvision and pillow alone."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nst_core.config import StyleConfig
from nst_core.images.encode import MADE_BY
from nst_core.lanes.schedules import BALANCE_EVERY, starts_from_content
from nst_core.networks.extractors import NORMALIZATION_STATS
from nst_core.networks.registry import NETWORKS, OWN_WEIGHTS_LICENCE, POOLING_GAIN, WEIGHTS_LICENCE
from nst_core.presets.preset import Preset
from tuner.export.templates import in_docstring, rendered
from tuner.job.spec import StyleImage

_LINE = 96


#: What a preset is exported for where nobody says: one style image, everywhere.
ONE_STYLE = (StyleImage(image="STYLE"),)


def script_of(
    preset: Preset, file_name: str, styles: Sequence[StyleImage] = ONE_STYLE
) -> tuple[str, list[str]]:
    """The script, and what it leaves out.

    Args:
        preset: what it does.
        file_name: what it will be called.
        styles: style images that the preset was tuned with; their weights go into the script.
    """
    config = preset.config
    warnings = left_out(preset, styles)
    stats = NORMALIZATION_STATS[config.normalization]
    network = NETWORKS[config.extractor]
    text = rendered(
        "script.py.j2",
        c=config,
        horizon=config.horizon,
        # Of grey pictures there are no colours to match.
        match_colors="none" if config.preserve_color == "luminance" else config.match_colors,
        title=in_docstring(f"{preset.name}: a style transfer preset as a script, {MADE_BY}."),
        origin=in_docstring(_origin(preset)),
        licence=in_docstring(_licence(preset)),
        own_weights=in_docstring(shlex.quote(_file_name(preset))) if preset.weights_file else None,
        safetensors=(preset.weights_file or "").endswith(".safetensors"),
        file_name=in_docstring(shlex.quote(_as_argument(file_name))),
        warnings=[in_docstring(warning) for warning in warnings],
        styles=shares(config, styles),
        nodes=_literal(dict(network.up_to(network.deepest(config.layers)))),
        content_layers=_literal(_used(config, config.content_layers)),
        style_layers=_literal(_used(config, config.style_layers)),
        mean=list(stats.mean),
        std=list(stats.std),
        bgr=stats.bgr,
        gain=POOLING_GAIN[config.pooling],
        balance_every=BALANCE_EVERY,
        from_content=starts_from_content(config),
        config_comment=_settings(config),
    )
    return text, warnings


def shares(config: StyleConfig, styles: Sequence[StyleImage]) -> list[float]:
    """What each style image counts, 1 in all: by the configuration, or by its own weight."""
    weights = config.style_blend or [style.weight for style in styles]
    return [weight / sum(weights) for weight in weights]


def masks_left_out(styles: Sequence[StyleImage]) -> list[str]:
    """What is to be said of masks, which nothing but a preset can be applied with."""
    if not any(style.region or style.style_region for style in styles):
        return []
    return ["masks have no counterpart here: all of each style applies to the whole picture."]


def weights_left_out(preset: Preset, instead: str) -> list[str]:
    """What is to be said of weights that the preset was tuned with, and that nothing carries."""
    if preset.weights_file is None:
        return []
    return [f"tuned with weights of {preset.config.extractor} from {_file_name(preset)}: {instead}"]


def left_out(preset: Preset, styles: Sequence[StyleImage]) -> list[str]:
    """What of a preset the script does not do."""
    config, found = preset.config, masks_left_out(styles)
    found += weights_left_out(preset, "give them with --weights, or it makes another picture.")
    if config.photo_weight:
        found.append("photo_weight has no counterpart here: the photorealism term is left out.")
    if config.init == "feed_forward":
        found.append("init feed_forward has no counterpart here: it starts from the content.")
    if config.precision != "float32":
        found.append(f"it computes in float32, not in {config.precision}.")
    return found


def _used(config: StyleConfig, layers: Mapping[str, float]) -> dict[str, float]:
    """Those of them that the loss reads; none of a term that weighs nothing."""
    read = config.layers
    return {layer: weight for layer, weight in layers.items() if weight > 0 and layer in read}


def _origin(preset: Preset) -> str:
    """Where the preset comes from, in a paragraph."""
    facts = preset.provenance
    if facts.get("kind") != "tuned":
        return textwrap.fill(preset.description or "A preset of nst-tuner.", _LINE)
    text = f"Tuned by nst-tuner: run {facts.get('run')}, trial {facts.get('trial')}"
    if isinstance(facts.get("score"), int | float):
        text += f", {facts.get('objective')} {facts['score']:.4g}"
    if isinstance(facts.get("spread"), int | float):
        text += f" ± {facts['spread']:.2g} over seeds"
    return textwrap.fill(f"{text}.", _LINE)


def _licence(preset: Preset) -> str:
    """Of the weights that it was tuned with, and of those that it takes by itself."""
    text = f"Weights of {preset.config.extractor}: {WEIGHTS_LICENCE}."
    if file := _file_name(preset):
        text = f"Weights of {file}: {OWN_WEIGHTS_LICENCE}. Without --weights: {text}"
    return textwrap.fill(text, _LINE)


def _file_name(preset: Preset) -> str:
    """Of its own weights, empty without; where they lay is nobody's business."""
    return Path(preset.weights_file or "").name


def _as_argument(file_name: str) -> str:
    """The name of a file that no program takes for an option."""
    return f"./{file_name}" if file_name.startswith("-") else file_name


def _settings(config: StyleConfig) -> str:
    """The whole configuration as comments, so that nothing about the preset is lost."""
    text = json.dumps({k: v for k, v in config.to_dict().items() if v is not None})
    lines = textwrap.wrap(text, _LINE - 2, break_long_words=False, break_on_hyphens=False)
    return "\n".join(["# The preset as nst-tuner writes it:", *(f"# {line}" for line in lines)])


def _literal(layers: dict[str, Any]) -> str:
    """A dict, an entry a line."""
    entries = "".join(f"    {name!r}: {value!r},\n" for name, value in layers.items())
    return "{\n" + entries + "}"
