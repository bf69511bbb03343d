"""Weights by name, from files that the command line names."""

from __future__ import annotations

from collections.abc import Sequence

from nst_core.errors import ConfigError, InputError, Say, near_miss
from nst_core.weights import SOURCES, Weights, cached_path, get_weights


class WeightsFiles:
    """Weights by name, from ``NAME=FILE`` where given, else from the usual sources."""

    def __init__(self, assignments: Sequence[str], say: Say):
        self._say = say
        self._files: dict[str, str] = {}
        problems = []
        for assignment in assignments:
            name, equals, file = assignment.partition("=")
            if not equals:
                problems.append(f"`{assignment}`: expected NAME=FILE")
            elif name not in SOURCES:
                problems.append(f"`{name}`: no such weights{near_miss(name, SOURCES)}")
            self._files[name] = file
        if problems:
            raise ConfigError("--weights", problems)

    def __call__(self, name: str) -> Weights:
        """See `weights.get_weights`."""
        return get_weights(name, file=self._files.get(name), say=self._say)

    def available(self, name: str) -> bool:
        """Whether the weights can be had now; tries to fetch them if they are not here."""
        if name in self._files or cached_path(name).is_file():
            return True
        try:
            self(name)
        except InputError:
            return False
        return True
