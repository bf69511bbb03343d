"""Hyperparameter tuning for neural style transfer: starting, inspecting and exporting runs.

For notebooks and scripts: ``from tuner import load_run``, and the search spaces in any study of
Optuna: ``from tuner import suggested``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from tuner.results.dataframe import Run as Run
    from tuner.results.dataframe import load_run as load_run
    from tuner.sampling.optuna_space import suggested as suggested

#: Name -> module. They are imported when they are first used; commands must not wait for pandas.
_PUBLIC = {
    "Run": "tuner.results.dataframe",
    "load_run": "tuner.results.dataframe",
    "suggested": "tuner.sampling.optuna_space",
}

__all__ = ["Run", "__version__", "load_run", "suggested"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
