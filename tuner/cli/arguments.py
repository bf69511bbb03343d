"""Command-line arguments: home folders in paths, and options that do not fit together."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from nst_core.errors import InputError

#: ``~`` or ``~name`` where a path can begin: at the beginning of the argument, after the ``=`` of
#: ``--out=PATH`` or ``NAME=PATH``, and after the ``@`` before the mask of a style image.
_HOME = re.compile(r"(^|=|@)(~[^/@=:]*)(?=/)")


def with_home(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with ``~/`` and ``~name/`` expanded at the beginning of every path.

    A shell expands ``~`` only at the beginning of an argument, so not in ``--out=~/o.png``. If the
    user ``name`` has no home folder, the argument stays as it is.
    """
    return [_HOME.sub(_expanded, argument) for argument in arguments]


def _expanded(match: re.Match[str]) -> str:
    return match[1] + os.path.expanduser(match[2])  # noqa: PTH111  # Path.expanduser may raise


def refuse_options(options: Mapping[str, object], reason: str) -> None:
    """Raise InputError if any of the options is given.

    Args:
        options: option -> its value; a false value means that it is not given.
        reason: why they are refused, and what to do; follows the options and a colon.
    """
    if given := [name for name, value in options.items() if value]:
        raise InputError(f"{', '.join(given)}: {reason}")
