"""Find a search space by its name or in a file."""

from __future__ import annotations

import os
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
    try:
        return find_space(name_or_path)
    except ConfigError as problems_for_our_engine:
        path = Path(os.path.expanduser(name_or_path))  # noqa: PTH111
        if not is_file(path):
            raise
        content = read_yaml(path).data
        try:
            return stylizer_space_from_dict(content, str(path))
        except ConfigError:
            if "defaults" in content:  # a key that only spaces of other stylizers have
                raise
            raise problems_for_our_engine from None
