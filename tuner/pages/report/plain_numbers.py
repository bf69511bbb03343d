"""Numbers and values as JSON can hold them."""

from __future__ import annotations

import math
from typing import Any


def rounded(value: float | None) -> float | None:
    """Return a number rounded to eight digits; None instead of NaN and infinity, which JSON lacks.

    The page rounds again for display; so many digits keep that from changing the last one shown.
    """
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.8g}")


def plain(value: Any) -> Any:
    """Return a value of a setting with its numbers rounded."""
    return rounded(value) if isinstance(value, float) else value
