"""Export as a script: a preset as one readable Python file.

The script needs torch, torchvision and pillow alone.
"""

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
from tuner.job.spec import StyleImage

_LINE_LENGTH = 96

#: The styles of a preset that is exported without a run: one style image for the whole picture.
ONE_STYLE = (StyleImage(image="STYLE"),)


def script_of(
    preset: Preset, file_name: str, styles: Sequence[StyleImage] = ONE_STYLE
) -> tuple[str, list[str]]:
    """Return the text of the script, and a warning for each part of the preset that it leaves out.

    Args:
        preset: the preset to export.
        file_name: file name of the script, for the usage line in its docstring.
        styles: style images that the preset was tuned with; their weights go into the script.
    """
    config = preset.config
    warnings = _left_out(preset, styles)
    stats = NORMALIZATION_STATS[config.normalization]
    network = NETWORKS[config.extractor]
    text = _rendered(
        "script.py.j2",
        c=config,
        horizon=config.horizon,
        # Gray pictures have no colors to match.
        match_colors="none" if config.preserve_color == "luminance" else config.match_colors,
        title=_in_docstring(f"{preset.name}: a style transfer preset as a script, {MADE_BY}."),
        origin=_in_docstring(_origin(preset)),
        licence=_in_docstring(_licence(preset)),
        own_weights=_in_docstring(shlex.quote(_weights_name(preset)))
        if preset.weights_file
        else None,
        safetensors=(preset.weights_file or "").endswith(".safetensors"),
        file_name=_in_docstring(shlex.quote(_as_argument(file_name))),
        warnings=[_in_docstring(warning) for warning in warnings],
        styles=style_shares(config, styles),
        nodes=_dict_literal(dict(network.up_to(network.deepest(config.layers)))),
        content_layers=_dict_literal(_used_layers(config, config.content_layers)),
        style_layers=_dict_literal(_used_layers(config, config.style_layers)),
        mean=list(stats.mean),
        std=list(stats.std),
        bgr=stats.bgr,
        gain=POOLING_GAIN[config.pooling],
        balance_every=BALANCE_EVERY,
        from_content=starts_from_content(config),
        config_comment=_config_comment(config),
    )
    return text, warnings


def _rendered(template: str, **values: Any) -> str:
    """Return a template of this folder, filled in.

    Every text value must be a Python literal or come from `_in_docstring`: it becomes code.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,  # the result is Python, not HTML
    )
    return templates.get_template(template).render(**values)


def _in_docstring(text: str) -> str:
    """Return the text such that it cannot end the docstring that it is put into."""
    return text.replace("\\", "/").replace('"""', "'''")


def style_shares(config: StyleConfig, styles: Sequence[StyleImage]) -> list[float]:
    """Return the share of each style image; the shares sum to 1.

    They come from the configuration's `style_blend`, or else from the weights of the images.
    """
    weights = config.style_blend or [style.weight for style in styles]
    return [weight / sum(weights) for weight in weights]


def masks_left_out(styles: Sequence[StyleImage]) -> list[str]:
    """Return a warning if styles have masks, which only a preset can be applied with."""
    if not any(style.region or style.style_region for style in styles):
        return []
    return ["masks have no counterpart here: all of each style applies to the whole picture."]


def weights_left_out(preset: Preset, consequence: str) -> list[str]:
    """Return a warning if the preset was tuned with a weights file, which no export contains.

    Args:
        preset: the preset to export.
        consequence: what the exported file does without those weights, as a sentence.
    """
    if preset.weights_file is None:
        return []
    network, file = preset.config.extractor, _weights_name(preset)
    return [f"tuned with weights of {network} from {file}: {consequence}"]


def _left_out(preset: Preset, styles: Sequence[StyleImage]) -> list[str]:
    """Return a warning for each part of the preset that the script leaves out."""
    config, warnings = preset.config, masks_left_out(styles)
    warnings += weights_left_out(preset, "give them with --weights, or the result will differ.")
    if config.photo_weight:
        warnings.append("photo_weight has no counterpart here: the photorealism term is left out.")
    if config.init == "feed_forward":
        warnings.append(
            "init feed_forward has no counterpart here: the script starts from the content."
        )
    if config.precision != "float32":
        warnings.append(f"the script computes in float32, not in {config.precision}.")
    return warnings


def _used_layers(config: StyleConfig, layers: Mapping[str, float]) -> dict[str, float]:
    """Return the layers of a term that the loss reads: none if the term has the weight 0."""
    read = config.layers
    return {layer: weight for layer, weight in layers.items() if weight > 0 and layer in read}


def _origin(preset: Preset) -> str:
    """Return a paragraph that says where the preset comes from."""
    facts = preset.provenance
    if facts.get("kind") != "tuned":
        return textwrap.fill(preset.description or "A preset of nst-tuner.", _LINE_LENGTH)
    text = f"Tuned by nst-tuner: run {facts.get('run')}, trial {facts.get('trial')}"
    if isinstance(facts.get("score"), int | float):
        text += f", {facts.get('objective')} {facts['score']:.4g}"
    if isinstance(facts.get("spread"), int | float):
        text += f" ± {facts['spread']:.2g} over seeds"
    return textwrap.fill(f"{text}.", _LINE_LENGTH)


def _licence(preset: Preset) -> str:
    """Return a paragraph about the licenses of the weights that the script can use."""
    text = f"Weights of {preset.config.extractor}: {WEIGHTS_LICENCE}."
    if file := _weights_name(preset):
        text = f"Weights of {file}: {OWN_WEIGHTS_LICENCE}. Without --weights: {text}"
    return textwrap.fill(text, _LINE_LENGTH)


def _weights_name(preset: Preset) -> str:
    """Return the name of the preset's weights file without its private folder; empty if none."""
    return Path(preset.weights_file or "").name


def _as_argument(file_name: str) -> str:
    """Return the file name such that no program takes it for an option."""
    return f"./{file_name}" if file_name.startswith("-") else file_name


def _config_comment(config: StyleConfig) -> str:
    """Return the whole configuration as comment lines, so that nothing of the preset is lost."""
    text = json.dumps({k: v for k, v in config.to_dict().items() if v is not None})
    lines = textwrap.wrap(text, _LINE_LENGTH - 2, break_long_words=False, break_on_hyphens=False)
    return "\n".join(["# The preset as nst-tuner writes it:", *(f"# {line}" for line in lines)])


def _dict_literal(layers: Mapping[str, Any]) -> str:
    """Return Python code of a dict with one entry per line."""
    entries = "".join(f"    {name!r}: {value!r},\n" for name, value in layers.items())
    return "{\n" + entries + "}"
