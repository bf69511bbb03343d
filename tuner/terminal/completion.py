"""Shell completion of names and run directories. Imports nothing heavy: each Tab press runs it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tuner.study.run_files import JOB_FILE, holds_study


def runs(incomplete: str) -> list[str]:
    """Return run directories that begin like this; if there are none, folders to look into."""
    start = Path(incomplete)
    folder = start if incomplete.endswith("/") or not incomplete else start.parent
    prefix = "" if folder == start else start.name
    try:
        folders = sorted(
            path for path in folder.iterdir() if path.name.startswith(prefix) and path.is_dir()
        )
    except OSError:
        return []
    run_dirs = [path for path in folders if (path / JOB_FILE).is_file() and holds_study(path)]
    return [str(p) for p in run_dirs] or [f"{p}/" for p in folders if p.name[0] != "."]


def presets(incomplete: str) -> list[str]:
    """Return the built-in presets that begin like this."""
    from nst_core.presets.built_in import BUILT_IN

    return _with_prefix(BUILT_IN, incomplete)


def spaces(incomplete: str) -> list[str]:
    """Return the built-in search spaces that begin like this."""
    from search_spaces import CATALOGUE

    return _with_prefix(CATALOGUE, incomplete)


def networks(incomplete: str) -> list[str]:
    """Return the networks that begin like this."""
    from nst_core.networks.registry import NETWORKS

    return _with_prefix(NETWORKS, incomplete)


def weights(incomplete: str) -> list[str]:
    """Return the names of weights that begin like this."""
    from nst_core.networks.weights import SOURCES

    return _with_prefix(SOURCES, incomplete)


def metrics(incomplete: str) -> list[str]:
    """Return the metrics that begin like this."""
    from nst_core.metrics.registry import METRICS

    return _with_prefix(METRICS, incomplete)


def _with_prefix(names: Iterable[str], prefix: str) -> list[str]:
    return [name for name in names if name.startswith(prefix)]


def control_commands(incomplete: str) -> list[str]:
    """Return the commands of `nst-tuner ctl` that begin like this."""
    return _with_prefix(("pause", "resume", "stop-trial", "try", "more-like", "set"), incomplete)
