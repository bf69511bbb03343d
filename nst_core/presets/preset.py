"""Preset: a StyleConfig with its provenance, as a JSON file. This module does not load torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nst_core.config import StyleConfig
from nst_core.errors import PresetError
from nst_core.files import write_atomic

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A configuration with its provenance, from a JSON file or `built_in.BUILT_IN`.

    Attributes:
        name: name of the preset.
        config: settings of the stylization.
        description: one line of text.
        provenance: origin of the preset as plain JSON: run, trial, scores, versions and more.
    """

    name: str
    config: StyleConfig
    description: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights_file(self) -> str | None:
        """File of the network's weights during the tuning; None for the usual weights."""
        weights = self.provenance.get("weights")
        entry = weights.get(self.config.extractor) if isinstance(weights, Mapping) else None
        file = entry.get("file") if isinstance(entry, Mapping) else None
        return file if isinstance(file, str) else None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file as plain values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "description": self.description,
            "config": self.config.to_dict(),
            "provenance": dict(self.provenance),
        }

    def to_json(self) -> str:
        """Return the content of the file."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        # File names that are not UTF-8 contain lone surrogates; JSON writes them as escapes.
        return text.encode(errors="backslashreplace").decode()

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
        """Write the file atomically.

        Raises:
            PresetError: the file cannot be written.
        """
        try:
            write_atomic(path, self.to_json().encode())
        except OSError as error:
            raise PresetError(f"{path}: cannot be written ({error.strerror or error})") from None


def _check_version(version: Any, source: str) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise PresetError(
            f"{source}: schema_version is {version!r}, expected a whole number from 1 to"
            f" {SCHEMA_VERSION}"
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
