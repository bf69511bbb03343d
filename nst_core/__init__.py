"""Neural style transfer engine: configurations, networks, losses, batches of lanes, metrics.

Most programs need ``from nst_core import stylize, StyleConfig, Preset`` only. Each name is imported
at its first use, because configurations and presets do not need torch.
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

#: Public name -> module that defines it.
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
