"""Exceptions that this project raises, and the exit codes of commands that end with them.

    NstError                      base class
    ├── InputError      exit 2    an argument, a file or a setting of the user is wrong
    │   ├── ConfigError           a configuration, space or job file; lists all problems
    │   ├── ImageError            an image file
    │   ├── PresetError           a preset file
    │   ├── RunError              a run directory
    │   └── WeightsError          pretrained weights are not available, or not the expected ones
    ├── WorkError       exit 1    the input was valid, but the work failed
    └── RunInterruptedError  exit 130  a signal ended the run; results are kept (SIGTERM: 143)

A message says what is wrong and where, what was expected, and what to do. Any other exception that
reaches the command line is a bug of this project.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

#: Function that shows one line to the user.
Say = Callable[[str], None]


class NstError(Exception):
    """Base of every error this project raises on purpose."""

    exit_code = 1


class InputError(NstError):
    """An argument, a file or a setting of the user is wrong; nothing was changed."""

    exit_code = 2


class ConfigError(InputError):
    """One or more keys or values are invalid.

    Attributes:
        source: name of the file or object that holds them.
        problems: one sentence for each problem.
    """

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
    """A run directory is missing, is no run directory, or exists already."""


class WeightsError(InputError):
    """Pretrained weights are not available, or not the expected ones."""


class WorkError(NstError):
    """The input was valid, but the work failed."""


class RunInterruptedError(NstError):
    """A signal ended the run; results so far are kept."""

    exit_code = 130


def _count(problems: Sequence[str]) -> str:
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"


def near_miss(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean `x`?`` for the most similar known word, or an empty string."""
    matches = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"; did you mean `{matches[0]}`?" if matches else ""
