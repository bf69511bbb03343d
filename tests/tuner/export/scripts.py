"""Helpers for tests of exported scripts."""

from typing import Any

from nst_core.config import StyleConfig
from nst_core.presets.preset import Preset
from tuner.export.script import script_of


def script_namespace(config: StyleConfig | None = None) -> dict[str, Any]:
    """Return the names that the script of a configuration defines, by default the default one."""
    text, _ = script_of(Preset(name="x", config=config or StyleConfig()), "x.py")
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "x.py", "exec"), names)
    return names
