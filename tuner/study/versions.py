"""Releases of other packages whose internals we use."""

from __future__ import annotations

import logging
from importlib.metadata import version

log = logging.getLogger(__name__)


def warn_if_unchecked(package: str, checked: str) -> None:
    """Log a warning where a package is another release than the one we were checked with.

    Args:
        package: its name on PyPI.
        checked: the release, such as ``2.60``.
    """
    found = version(package)
    if not f"{found}.".startswith(f"{checked}."):
        log.warning(
            "%s %s is installed, and nst-tuner was checked with %s; if something fails, install"
            " that one: pip install '%s==%s.*'",
            *(package, found, checked, package, checked),
        )
