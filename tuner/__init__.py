"""Hyperparameter tuning for neural style transfer: starting, inspecting and exporting runs.

For notebooks and scripts: ``from tuner import load_run``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from tuner.results.dataframe import Run as Run
    from tuner.results.dataframe import load_run as load_run

__all__ = ["Run", "__version__", "load_run"]


def __getattr__(name: str) -> Any:
    """Import `Run` and `load_run` when they are first used; commands must not wait for pandas."""
    if name in ("Run", "load_run"):
        from tuner.results import dataframe

        return getattr(dataframe, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
