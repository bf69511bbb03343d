"""Preset: a StyleConfig that has proved itself, with where it comes from. No torch here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError, PresetError, near_miss
from nst_core.files import write_atomic
from nst_core.networks import NETWORKS

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A configuration with its provenance; a JSON file or one of `BUILT_IN`.

    Attributes:
        name: what people call it.
        config: the settings.
        description: one line.
        provenance: where it comes from, as plain JSON: run, trial, scores, versions … .
    """

    name: str
    config: StyleConfig
    description: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The file's content."""
        content = {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "description": self.description,
            "config": self.config.to_dict(),
            "provenance": dict(self.provenance),
        }
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str) -> Preset:
        """Parse a file's content; ``source`` names it in errors.

        Raises:
            PresetError: not a preset, or of a version this program does not know.
            ConfigError: its settings are invalid.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PresetError(f"{source}: not JSON ({error}); expected a preset") from None
        if not isinstance(content, dict) or "config" not in content:
            raise PresetError(
                f"{source}: not a preset; expected an object with schema_version, name and config,"
                " as `nst-tuner export` writes"
            )
        _check_version(content.get("schema_version"), source)
        return cls(
            name=str(content.get("name", Path(source).stem)),
            config=StyleConfig.from_dict(content["config"], source=f"{source}: config"),
            description=str(content.get("description", "")),
            provenance=_object(content.get("provenance", {}), source),
        )

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        try:
            write_atomic(path, self.to_json().encode())
        except OSError as error:
            raise PresetError(f"{path}: cannot be written ({error.strerror or error})") from None


def _check_version(version: Any, source: str) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise PresetError(
            f"{source}: schema_version is {version!r}, expected a number up to {SCHEMA_VERSION}"
        )
    if version > SCHEMA_VERSION:
        raise PresetError(
            f"{source}: schema_version {version} is newer than this program, which knows up to"
            f" {SCHEMA_VERSION}; upgrade nst-tuner"
        )


def _object(value: Any, source: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PresetError(f"{source}: provenance: expected an object, got {value!r}")
    return value


def load_preset(name_or_path: str) -> Preset:
    """A built-in preset by its name, or one from a file.

    Raises:
        PresetError: neither, or the file is no preset.
        ConfigError: the file's settings are invalid.
    """
    if name_or_path in BUILT_IN:
        return BUILT_IN[name_or_path]
    path = Path(name_or_path)
    try:
        return Preset.from_json(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        hint = near_miss(name_or_path, BUILT_IN)
        raise PresetError(
            f"{name_or_path}: neither a file nor a built-in preset{hint}"
            f" (built in: {', '.join(BUILT_IN)})"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise PresetError(f"{path}: cannot be read as a preset ({reason})") from None


def runnable(preset: Preset, has_weights: Callable[[str], bool]) -> tuple[Preset, str | None]:
    """The preset, or its nearest on VGG16 where its network has no weights here, and a note.

    Layers that VGG16 lacks become the last of their block (``relu3_4`` -> ``relu3_3``).
    """
    network = preset.config.extractor
    if network == "vgg16" or has_weights(network):
        return preset, None
    config = preset.config.replace(
        extractor="vgg16",
        content_layers=_on_vgg16(preset.config.content_layers),
        style_layers=_on_vgg16(preset.config.style_layers),
    )
    note = f"no weights for {network} here; runs on VGG16 instead"
    return Preset(**{**vars(preset), "config": config}), note


def _on_vgg16(layers: Mapping[str, float]) -> dict[str, float]:
    moved: dict[str, float] = {}
    for layer, weight in layers.items():
        stem = layer.rsplit("_", 1)[0]
        same_block = [name for name in NETWORKS["vgg16"].layers if name.rsplit("_", 1)[0] == stem]
        target = layer if layer in NETWORKS["vgg16"].node else same_block[-1]
        moved[target] = moved.get(target, 0.0) + weight
    return moved


def _built_in(name: str, description: str, source: Mapping[str, Any], **config: Any) -> Preset:
    try:
        return Preset(
            name=name,
            description=description,
            config=StyleConfig.from_dict(config),
            provenance={"kind": "baseline", "published": dict(source)},
        )
    except ConfigError as error:
        raise AssertionError(f"built-in preset {name}: {error}") from error


def _vgg19_style(weights: tuple[float, ...], kind: str = "conv") -> dict[str, float]:
    return {f"{kind}{block}_1": weight for block, weight in enumerate(weights, start=1)}


#: Five systems that people use today. `published` holds their own numbers; where their formula
#: differs from ours by a factor, the factor is folded into the weights and the note says so.
BUILT_IN: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        _built_in(
            "adam-1000",
            "Gatys loss, content 1, style 1e6, Adam 0.01, 1000 steps",
            {
                "extractor": "VGG19, ImageNet weights",
                "content": "1/2 mean square, weight 1",
                "style": "Gatys et al.: squared Gram error over 4 N^2 M^2, weight 1e6",
                "optimizer": "Adam, lr 0.01, 1000 steps",
                "note": "their 1/2 and 1/4 are folded into the weights: 0.5 and 2.5e5 here",
            },
            extractor="vgg19",
            content_layers={"conv4_2": 1.0},
            style_layers=_vgg19_style((0.2,) * 5),
            content_weight=0.5,
            style_weight=2.5e5,
            lr=0.01,
            steps=1000,
            clamp="save",
        ),
        _built_in(
            "layered-2000",
            "layer weights 1.0/0.8/0.4/0.2/0.1, content 5, style 1e9, Adam 0.001, 2000 steps",
            {
                "extractor": "VGG19",
                "style_layers": "conv1_1..conv5_1, 1.0/0.8/0.4/0.2/0.1",
                "weights": "content 5, style 1e9",
                "optimizer": "Adam, lr 0.001 (also 0.07), 2000 steps, 300 px",
                "normalization": "mean and std 0.5",
                "note": "Gram over C H W, as code with weights of 1e9 divides it",
            },
            extractor="vgg19",
            content_layers={"conv4_2": 1.0},
            style_layers=_vgg19_style((1.0, 0.8, 0.4, 0.2, 0.1)),
            content_weight=5.0,
            style_weight=1e9,
            gram="per_element",
            normalization="half",
            lr=0.001,
            steps=2000,
            size_px=300,
            clamp="save",
        ),
        _built_in(
            "lbfgs-resnet18",
            "the VGG16 variant of the report, with its Adam 0.1: content 1, style 1e6",
            {
                "extractor": "ResNet-18 (also VGG16, VGG19)",
                "layers": "VGG16: content relu2_2, style relu1_2, 2_2, 3_3, 4_3",
                "weights": "content 1, style 1e6",
                "optimizer": "L-BFGS 1000 steps; Adam lr 0.1; AdamW lr 0.01",
                "note": "this version has neither ResNet-18 nor L-BFGS: VGG16 and Adam run instead;"
                " Gram over C H W; the report names no TV weight, so there is none",
            },
            extractor="vgg16",
            content_layers={"relu2_2": 1.0},
            style_layers={"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0, "relu4_3": 1.0},
            style_weight=1e6,
            gram="per_element",
            lr=0.1,
            steps=1000,
        ),
        _built_in(
            "tv-amp",
            "content, Gram style and total variation, Adam 5.0 on a 0-255 scale, height 224",
            {
                "extractor": "VGG19, Caffe preprocessing (0-255 BGR)",
                "optimizer": "Adam, lr 5.0 on pixels 0-255",
                "size": "height 224",
                "note": "5.0 of 255 is 0.0196 of [0, 1]; the report names no weights: content 1,"
                " style 1e3, tv 1 stand in; Caffe preprocessing becomes ImageNet normalisation",
            },
            extractor="vgg19",
            content_layers={"conv4_2": 1.0},
            style_layers=_vgg19_style((0.2,) * 5),
            style_weight=1e3,
            tv_weight=1.0,
            lr=5.0 / 255,
            steps=500,
            size_px=224,
        ),
        _built_in(
            "weighted-layers",
            "layer weights 0.5/0.4/0.5/0.8/0.4, content 1, style 1e6, Adam 0.003, 2000 steps",
            {
                "extractor": "VGG19",
                "style_layers": "conv1_1..conv5_1, 0.5/0.4/0.5/0.8/0.4",
                "weights": "content 1, style 1e6 (also 5e6; 1e2/1e4)",
                "optimizer": "Adam, lr 0.003 (0.001), 1000-2000 steps, at most 400 px",
                "note": "Gram over C H W",
            },
            extractor="vgg19",
            content_layers={"conv4_2": 1.0},
            style_layers=_vgg19_style((0.5, 0.4, 0.5, 0.8, 0.4)),
            style_weight=1e6,
            gram="per_element",
            lr=0.003,
            steps=2000,
            size_px=400,
            clamp="save",
        ),
    )
}
