"""Presets: settings of a stylization with their provenance, as JSON files.

This module does not load torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from nst_core.config import StyleConfig
from nst_core.errors import PresetError
from nst_core.files import write_atomic
from nst_core.stylizer_config import Configuration, StylizerConfig, configuration_from_dict

#: Version of preset files, and that of presets of other stylizers than our engine.
SCHEMA_VERSION, STYLIZER_VERSION = 1, 2


@dataclass(frozen=True, kw_only=True)
class PresetFile:
    """What all presets have in common.

    Attributes:
        name: name of the preset.
        description: one line of text.
        provenance: origin of the preset as plain JSON: run, trial, scores, versions and more.
    """

    name: str
    description: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema_version: ClassVar[int] = SCHEMA_VERSION

    @property
    def _settings(self) -> Configuration:
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file as plain values."""
        return {
            "schema_version": self.schema_version,
            "name": self.name,
            "description": self.description,
            "config": self._settings.to_dict(),
            "provenance": dict(self.provenance),
        }

    def to_json(self) -> str:
        """Return the content of the file."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        # File names that are not UTF-8 contain lone surrogates; JSON writes them as escapes.
        return text.encode(errors="backslashreplace").decode()

    def save(self, path: Path) -> None:
        """Write the file atomically.

        Raises:
            PresetError: the file cannot be written.
        """
        try:
            write_atomic(path, self.to_json().encode())
        except OSError as error:
            raise PresetError(f"{path}: cannot be written ({error.strerror or error})") from None


@dataclass(frozen=True, kw_only=True)
class Preset(PresetFile):
    """Settings of our engine with their provenance, from a file or `built_in.BUILT_IN`.

    Attributes:
        config: settings of the stylization.
    """

    config: StyleConfig

    @property
    def _settings(self) -> Configuration:
        return self.config

    @property
    def weights_file(self) -> str | None:
        """File of the network's weights during the tuning; None for the usual weights."""
        weights = self.provenance.get("weights")
        entry = weights.get(self.config.extractor) if isinstance(weights, Mapping) else None
        file = entry.get("file") if isinstance(entry, Mapping) else None
        return file if isinstance(file, str) else None

    @classmethod
    def from_json(cls, text: str, source: str) -> Preset:
        """Parse the content of a file.

        Args:
            text: content of the file.
            source: name of the file in error messages.

        Raises:
            PresetError: the text is no preset, or has an unknown schema version.
            ConfigError: the settings are invalid.
        """
        return own_preset(preset_from_json(text, source), source)


@dataclass(frozen=True, kw_only=True)
class StylizerPreset(PresetFile):
    """Parameters of another stylizer with their provenance.

    Attributes:
        config: the stylizer and its parameters.
    """

    config: StylizerConfig
    schema_version: ClassVar[int] = STYLIZER_VERSION

    @property
    def _settings(self) -> Configuration:
        return self.config


def preset_from_json(text: str, source: str) -> Preset | StylizerPreset:
    """Parse the content of a preset file, of our engine or of another stylizer.

    Args:
        text: content of the file.
        source: name of the file in error messages.

    Raises:
        PresetError: the text is no preset, or has an unknown schema version.
        ConfigError: the settings are invalid.
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
    return make_preset(
        configuration_from_dict(content["config"], source=f"{source}: config"),
        name=str(content.get("name", Path(source).stem)),
        description=str(content.get("description", "")),
        provenance=_object(content.get("provenance", {}), source),
    )


def own_preset(preset: Preset | StylizerPreset, source: str) -> Preset:
    """Return a preset if it is one of our engine.

    Raises:
        PresetError: it is a preset of another stylizer.
    """
    if isinstance(preset, StylizerPreset):
        raise PresetError(
            f"{source}: is a preset of another stylizer, which only `nst-tuner stylize` applies"
        )
    return preset


def make_preset(
    config: Configuration, *, name: str, description: str, provenance: Mapping[str, Any]
) -> Preset | StylizerPreset:
    """Return the preset of a configuration, of whichever stylizer."""
    about: Any = {"name": name, "description": description, "provenance": provenance}
    if isinstance(config, StylizerConfig):
        return StylizerPreset(config=config, **about)
    return Preset(config=config, **about)


def _check_version(version: Any, source: str) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise PresetError(
            f"{source}: schema_version is {version!r}, expected a whole number from 1 to"
            f" {STYLIZER_VERSION}"
        )
    if version > STYLIZER_VERSION:
        raise PresetError(
            f"{source}: schema_version {version} is newer than this program, which knows up to"
            f" {STYLIZER_VERSION}; upgrade nst-tuner"
        )


def _object(value: Any, source: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PresetError(f"{source}: provenance: expected an object, got {value!r}")
    return value
