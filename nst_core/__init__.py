"""The stylization engine: configurations, extractors, losses, lanes, metrics.

``from nst_core import stylize, StyleConfig, Preset`` is all that most programs need. The names are
loaded when they are first asked for: configurations and presets do without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nst_core.config import StyleConfig
    from nst_core.errors import InputError, NstError, WorkError
    from nst_core.images.tensors import load_image, save_image
    from nst_core.lanes.batch import Outcome
    from nst_core.losses.inputs import Style
    from nst_core.presets.built_in import BUILT_IN, load_preset
    from nst_core.presets.preset import Preset
    from nst_core.stylization import Step, stylize

_HOMES = {
    "BUILT_IN": "presets.built_in",
    "InputError": "errors",
    "NstError": "errors",
    "Outcome": "lanes.batch",
    "Preset": "presets.preset",
    "Step": "stylization",
    "Style": "losses.inputs",
    "StyleConfig": "config",
    "WorkError": "errors",
    "load_image": "images.tensors",
    "load_preset": "presets.built_in",
    "save_image": "images.tensors",
    "stylize": "stylization",
}

__all__ = [
    "BUILT_IN",
    "InputError",
    "NstError",
    "Outcome",
    "Preset",
    "Step",
    "Style",
    "StyleConfig",
    "WorkError",
    "load_image",
    "load_preset",
    "save_image",
    "stylize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
