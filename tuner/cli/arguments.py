"""Paths in the words of a command line, whichever option they belong to."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

#: Where a path begins: the word, ``--out=``, ``NAME=`` of weights, and the masks of a style.
_HOME = re.compile(r"(^|=|@)(~[^/@=:]*)(?=/)")


def with_home(words: Sequence[str]) -> list[str]:
    """The words with ``~/`` and ``~name/`` expanded at the beginning of every path.

    A shell expands them at the beginning of a word only, so not in ``--out=~/o.png``. Where there
    is no such home folder they stay as they are.
    """
    return [_HOME.sub(_expanded, word) for word in words]


def _expanded(found: re.Match[str]) -> str:
    return found[1] + os.path.expanduser(found[2])  # noqa: PTH111  # never fails
