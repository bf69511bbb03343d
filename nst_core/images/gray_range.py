"""Gray range: which values of a gray picture are black and white, if its format does not say."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Share of the pixels at either end that may lie outside the range, such as hot pixels of a camera
#: and single very bright lights.
_OUTLIERS = 0.001


class GrayRange(NamedTuple):
    """Values of black and white, and a sentence on how they were chosen, or None."""

    black: float
    white: float
    note: str | None


def gray_range(values_HW: np.ndarray, full_scale: float | None) -> GrayRange:
    """Find the values that are black and white.

    Integers of 16 bits have a full scale. Programs write floating point numbers and 32-bit integers
    with any scale: 0 to 1, 0 to 255 (ImageJ), heights in meters, or light in any unit.

    Args:
        values_HW: any integer or floating point type; may hold infinite values and NaN.
        full_scale: the value of white, if the format gives one.
    """
    finite = values_HW
    if values_HW.dtype.kind == "f":
        finite = values_HW[np.isfinite(values_HW)]
        if finite.size == 0:
            raise ValueError("none of its values is a finite number")
    least, most = float(finite.min()), float(finite.max())
    if full_scale is not None:
        return GrayRange(0.0, full_scale, _nearly_black(most, full_scale))
    if values_HW.dtype.kind == "f" and least >= 0 and most <= 1:
        note = (
            None if finite.size == values_HW.size else "pixels that are not a number become black"
        )
        return GrayRange(0.0, 1.0, note)
    outliers = int(_OUTLIERS * (finite.size - 1))
    ends = (outliers, finite.size - 1 - outliers)
    low, high = (float(edge) for edge in np.partition(finite, ends, axis=None)[list(ends)])
    if low == high:
        low, high = least, most
    if low == high:
        return _even(low)
    note = (
        f"its values go from {least:g} to {most:g} and the file does not say which are black and"
        f" white: {low:g} is taken as black and {high:g} as white"
    )
    return GrayRange(low, high, note)


def _nearly_black(most: float, full_scale: float) -> str | None:
    if not 0 < most < full_scale / 16:
        return None
    return (
        f"its brightest value is {most:g} of {full_scale:g}, so it is nearly black; if it should"
        " not be, stretch its range first"
    )


def _even(value: float) -> GrayRange:
    """Return the smallest usual range for a picture whose values are all equal."""
    full = next((full for full in (1.0, 255.0, 65535.0) if 0 <= value <= full), None)
    if full is None:
        full = 2 * abs(value)
    note = f"all its values are {value:g}, and {full:g} is taken as white"
    return GrayRange(min(0.0, -full if value < 0 else 0.0), full, note)
