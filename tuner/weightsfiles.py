"""Weights by name, from files that the command line names."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from nst_core.errors import ConfigError, InputError, Say, near_miss
from nst_core.presets import Preset
from nst_core.weights import SOURCES, Weights, get_weights, is_cached


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

    def check(self, preset: Preset) -> None:
        """Say it where a preset was tuned with weights of a file, and no file is named here."""
        network, file = preset.config.extractor, preset.weights_file
        if file and network not in self._files:
            self._say(
                f"{preset.name}: was tuned with other weights of {network}; for those:"
                f" --weights {shlex.quote(f'{network}={file}')}"
            )

    def available(self, name: str) -> bool:
        """Whether the weights can be had now; tries to fetch them if they are not here."""
        if name in self._files or is_cached(name):
            return True
        try:
            self(name)
        except InputError:
            return False
        return True
