"""Find a search space by its name or in a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from nst_core.errors import ConfigError, near_miss
from nst_core.files import is_file
from search_spaces import CATALOGUE, Space, space_from_dict, stylizer_space_from_dict
from tuner.job.yaml_file import read_yaml


def find_space(name_or_path: str) -> Space:
    """Return a named search space, or one from a YAML file.

    Raises:
        ConfigError: there is no such space and no such file, or the file is not valid.
    """
    if name_or_path in CATALOGUE:
        return CATALOGUE[name_or_path]
    path = Path(os.path.expanduser(name_or_path))  # noqa: PTH111
    if not is_file(path):
        hint = near_miss(path.name, CATALOGUE)
        raise ConfigError(
            name_or_path,
            [f"{path.name!r} is neither a named space ({', '.join(CATALOGUE)}) nor a file{hint}"],
        )
    return space_from_dict(read_yaml(path).data, str(path))


def find_any_space(name_or_path: str) -> Space:
    """Return a named search space, or one from a YAML file, also of another stylizer.

    Raises:
        ConfigError: as `find_space`.
    """
    path = Path(os.path.expanduser(name_or_path))  # noqa: PTH111
    if name_or_path in CATALOGUE or not is_file(path):
        return find_space(name_or_path)
    content = read_yaml(path).data
    if isinstance(content, Mapping) and "defaults" in content:  # spaces of our engine have none
        return stylizer_space_from_dict(content, str(path))
    try:
        return space_from_dict(content, str(path))
    except ConfigError:
        with contextlib.suppress(ConfigError):
            return stylizer_space_from_dict(content, str(path))
        raise
