"""Check: the result of one check, and how a list of checks is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nst_core.errors import NstError


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check, as `doctor` prints it and as ``doctor --json`` writes it.

    Attributes:
        name: what was checked, such as ``disk``.
        ok: True: passed; False: failed; None: worth knowing, but not an error.
        found: what the check found, in one line.
    """

    name: str
    ok: bool | None
    found: str


def run_checks(checks: Mapping[str, Callable[[], Check]]) -> list[Check]:
    """Return the results of all checks, in order.

    A check that raises an exception is a failed check; the checks after it still run.

    Args:
        checks: name -> function that does the check.
    """
    results = []
    for name, check in checks.items():
        try:
            results.append(check())
        except NstError as error:
            results.append(Check(name=name, ok=False, found=str(error)))
        except Exception as error:  # whatever is broken, the other checks must run
            results.append(Check(name=name, ok=False, found=f"{type(error).__name__}: {error}"))
    return results
