"""WeightsFiles: network weights by name, from files that the command line names."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from nst_core.errors import ConfigError, InputError, Say, near_miss
from nst_core.networks.weights import SOURCES, Weights, get_weights, is_cached
from nst_core.presets.built_in import runnable
from nst_core.presets.preset import Preset


class WeightsFiles:
    """Weights by name: from the file that ``NAME=FILE`` gives, or else from the default source."""

    def __init__(self, assignments: Sequence[str], say: Say, of_job: Sequence[str] = ()):
        """Parse the assignments.

        Args:
            assignments: ``NAME=FILE`` of the command line.
            say: gets a line about downloads.
            of_job: ``NAME=FILE`` of a job file; those of the command line replace them.

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
        """All files, from the command line and from the job."""
        return list(self._files.values())

    def check_used(self, names: Iterable[str]) -> None:
        """Raise ConfigError if the command line names a file for a network that nothing reads.

        Args:
            names: networks that are read.
        """
        read = list(dict.fromkeys(names))
        only = f"only {', '.join(read)} is read here" if read else "no weights are read here"
        if problems := [
            f"`{n}={f}`: {only}; leave it out" for n, f in self._given.items() if n not in read
        ]:
            raise ConfigError("--weights", problems)

    def __call__(self, name: str) -> Weights:
        """Return the weights of a network; see `get_weights`."""
        return get_weights(name, file=self._files.get(name), say=self._say)

    def runnable_preset(self, preset: Preset) -> Preset:
        """Return the preset, changed where this machine lacks its network or its precision.

        See `runnable_presets`.
        """
        return self.runnable_presets([preset])[0]

    def runnable_presets(self, presets: Sequence[Preset]) -> list[Preset]:
        """Return presets, changed where this machine lacks their networks or precisions.

        Lines say what was changed, and which weights file a preset was tuned with if none is given
        here.

        Raises:
            ConfigError: the command line names a weights file that no preset reads.
        """
        from nst_core.stylization import default_device  # imports torch

        half = default_device().type == "cuda"
        runnable_here, read = [], []
        for preset in presets:
            self._say_tuned_weights(preset)
            changed, note = runnable(preset, self.available, half=half)
            read += [preset.config.extractor, changed.config.extractor]
            if note:
                self._say(f"{preset.name}: {note}")
            runnable_here.append(changed)
        self.check_used(read)
        return runnable_here

    def _say_tuned_weights(self, preset: Preset) -> None:
        network, file = preset.config.extractor, preset.weights_file
        if file and network not in self._files:
            self._say(
                f"{preset.name}: was tuned with other weights of {network}; to use those, add"
                f" --weights {shlex.quote(f'{network}={file}')}"
            )

    def available(self, name: str) -> bool:
        """Return whether the weights can be used now; try to download them if necessary."""
        if name in self._files or is_cached(name):
            return True
        try:
            self(name)
        except InputError:
            return False
        return True
