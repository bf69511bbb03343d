"""The exceptions a caller may meet, and what each means for a command's exit code.

    NstError                      anything this project reports on purpose
    ├── InputError      exit 2    something the user handed over is wrong
    │   ├── ConfigError           a configuration, space or job file: carries every problem found
    │   ├── ImageError            an image file
    │   ├── PresetError           a preset file
    │   ├── RunError              a run directory
    │   └── WeightsError          pretrained weights cannot be had or are not what they claim
    ├── WorkError       exit 1    the input was fine and the work still failed
    └── RunInterruptedError  exit 130  a signal broke it off; what was done is kept (SIGTERM: 143)

A message names what is wrong, where, what was expected and what to do. Anything that is not an
``NstError`` and reaches the command line is a defect of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

#: Tells people a line.
Say = Callable[[str], None]


class NstError(Exception):
    """Base of every error this project raises on purpose."""

    exit_code = 1


class InputError(NstError):
    """Something the user handed over is wrong; nothing was changed."""

    exit_code = 2


class ConfigError(InputError):
    """One or more invalid keys or values; ``problems`` lists each in one sentence."""

    def __init__(self, source: str, problems: Sequence[str]):
        self.source = source
        self.problems = tuple(problems)
        super().__init__("\n".join([f"{source}: {_count(self.problems)}", *self._lines()]))

    def _lines(self) -> list[str]:
        return [f"  - {problem}" for problem in self.problems]

    def __reduce__(self) -> tuple[type, tuple[str, tuple[str, ...]]]:
        return type(self), (self.source, self.problems)


class ImageError(InputError):
    """An image cannot be read or used."""


class PresetError(InputError):
    """A preset cannot be read or used."""


class RunError(InputError):
    """A run directory is missing, not one, or in the way."""


class WeightsError(InputError):
    """Pretrained weights cannot be had, or are not what they claim to be."""


class WorkError(NstError):
    """The input was fine and the work still failed."""


class RunInterruptedError(NstError):
    """The user broke off; what was done is kept."""

    exit_code = 130


def _count(problems: Sequence[str]) -> str:
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"


def near_miss(word: str, known: Iterable[str]) -> str:
    """`` did you mean `x`?`` for the known word nearest to ``word``, or an empty string."""
    matches = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"; did you mean `{matches[0]}`?" if matches else ""
