"""Launching, inspecting and exporting tuning runs of neural style transfer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from tuner.results.dataframe import Run as Run
    from tuner.results.dataframe import load_run as load_run

__all__ = ["Run", "__version__", "load_run"]


def __getattr__(name: str) -> Any:
    """Load what is for people when they ask for it: commands must not wait for pandas."""
    if name in ("Run", "load_run"):
        from tuner.results import dataframe as frame

        return getattr(frame, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
