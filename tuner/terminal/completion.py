"""What the shell completes: names and run directories. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tuner.study.run_files import JOB_FILE, holds_study


def runs(incomplete: str) -> list[str]:
    """Run directories that begin so, or the folders on the way to them."""
    start = Path(incomplete)
    folder = start if incomplete.endswith("/") or not incomplete else start.parent
    beginning = "" if folder == start else start.name
    try:
        found = sorted(
            path for path in folder.iterdir() if path.name.startswith(beginning) and path.is_dir()
        )
    except OSError:
        return []
    known = [path for path in found if (path / JOB_FILE).is_file() and holds_study(path)]
    return [str(path) for path in known] or [f"{path}/" for path in found if path.name[0] != "."]


def presets(incomplete: str) -> list[str]:
    """Built-in presets that begin so."""
    from nst_core.presets.built_in import BUILT_IN

    return _beginning(BUILT_IN, incomplete)


def spaces(incomplete: str) -> list[str]:
    """Named search spaces that begin so."""
    from search_spaces import CATALOGUE

    return _beginning(CATALOGUE, incomplete)


def networks(incomplete: str) -> list[str]:
    """Networks that begin so."""
    from nst_core.networks.registry import NETWORKS

    return _beginning(NETWORKS, incomplete)


def weights(incomplete: str) -> list[str]:
    """Names of weights that begin so."""
    from nst_core.networks.weights import SOURCES

    return _beginning(SOURCES, incomplete)


def metrics(incomplete: str) -> list[str]:
    """Metrics that begin so."""
    from nst_core.metrics.registry import METRICS

    return _beginning(METRICS, incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
