"""Weights by name, from files that the command line names."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from nst_core.errors import ConfigError, InputError, Say, near_miss
from nst_core.networks.weights import SOURCES, Weights, get_weights, is_cached
from nst_core.presets.preset import Preset


class WeightsFiles:
    """Weights by name, from ``NAME=FILE`` where given, else from the usual sources."""

    def __init__(self, assignments: Sequence[str], say: Say, of_job: Sequence[str] = ()):
        """Read the assignments.

        Args:
            assignments: of the command line.
            say: told of downloads.
            of_job: of a job file; the command line's go before them.

        Raises:
            ConfigError: with every problem at once.
        """
        self._say = say
        self._files = dict(entry.split("=", 1) for entry in of_job)
        self._given: dict[str, str] = {}
        problems = []
        for assignment in assignments:
            name, equals, file = assignment.partition("=")
            if not equals:
                problems.append(f"`{assignment}`: expected NAME=FILE")
            elif name not in SOURCES:
                problems.append(f"`{name}`: no such weights{near_miss(name, SOURCES)}")
            elif name in self._given:
                problems.append(f"`{name}`: given twice; name one file")
            self._given[name] = file
        if problems:
            raise ConfigError("--weights", problems)
        self._files.update(self._given)

    @property
    def files(self) -> list[str]:
        """Every file that is named."""
        return list(self._files.values())

    def check_used(self, names: Iterable[str]) -> None:
        """Raise ConfigError if the command line names a file of a network that nothing reads."""
        read = list(dict.fromkeys(names))
        only = f"only {', '.join(read)} is read here" if read else "no weights are read here"
        if problems := [
            f"`{n}={f}`: {only}; leave it out" for n, f in self._given.items() if n not in read
        ]:
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
