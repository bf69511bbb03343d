"""Checks of the releases of packages whose private parts this package uses."""

from __future__ import annotations

import logging
from importlib.metadata import version

log = logging.getLogger(__name__)


def warn_if_unchecked(package: str, checked: str) -> None:
    """Log a warning if the installed release of a package is not the one that was tested.

    Args:
        package: name on PyPI.
        checked: the tested release, such as ``2.60``.
    """
    installed = version(package)
    if not f"{installed}.".startswith(f"{checked}."):
        log.warning(
            "%s %s is installed, but nst-tuner was tested with %s; if something fails, install"
            " the tested release: pip install '%s==%s.*'",
            *(package, installed, checked, package, checked),
        )
