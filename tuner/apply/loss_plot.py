"""Plot of the losses of a run, drawn by matplotlib without a window."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nst_core.errors import ImageError
from nst_core.images.encode import MADE_BY, check_place, write_picture

_SUFFIXES = (".png", ".svg", ".pdf")


def check_plot_path(path: Path) -> None:
    """Raise ImageError if a plot cannot be saved as ``path``; call it before long work."""
    if path.suffix.lower() not in _SUFFIXES:
        raise ImageError(f"{path}: cannot plot as `{path.suffix}`; use {', '.join(_SUFFIXES)}")
    check_place(path)


def plot_losses(losses: Mapping[int, Mapping[str, float]], path: Path) -> None:
    """Plot each weighted loss term over the steps, on a logarithmic scale.

    Args:
        losses: step -> term -> value.
        path: a .png, .svg or .pdf file; written atomically.

    Raises:
        ImageError: the suffix is another one, or the file cannot be written.
    """
    check_plot_path(path)
    # When matplotlib is imported, it reads a `matplotlibrc` in the working folder. Anyone may have
    # put it there, and such a file may name programs to run.
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(empty):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    steps = sorted(losses)
    for name in losses[steps[0]]:
        values = [losses[step][name] for step in steps]
        if any(values):
            axes.plot(steps, values, label=name, linewidth=2.5 if name == "total" else 1.5)
    axes.set(xlabel="step", ylabel="loss, weighted", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    buffer = io.BytesIO()
    file_format = path.suffix[1:].lower()
    # Formats have different keys for the program that made a file.
    made_by = {{"png": "Software"}.get(file_format, "Creator"): MADE_BY}
    figure.savefig(buffer, format=file_format, dpi=120, metadata=made_by)
    write_picture(path, buffer.getvalue())
