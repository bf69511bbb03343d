"""Which parameters matter: the lengthscales of recorded curves, which `gp` starts with.

Command: ``python -m benchmarks.lengthscales``. The medians, rounded to two digits, are the table in
    `tuner.sampling.lengthscales`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.support.common import JsonOption, QuickOption, Row, Section, publish, run
from benchmarks.support.curves import COMMITTED, Curves, load_curves, recorded_lengthscales


def main(
    curves: Annotated[Path, typer.Option(help="recorded curves")] = COMMITTED,
    quick: QuickOption = False,
    json_file: JsonOption = None,
) -> None:
    """Print the lengthscale of each coordinate; --quick changes nothing, as it takes a second."""
    recorded = load_curves(curves)
    publish(
        "Lengthscales",
        f"{len(recorded.params)} configurations of the space `{recorded.space.name}` on"
        f" {len(recorded.pairs)} pairs: a kernel was fitted to the best LPIPS of each pair. Along a"
        " coordinate with a short lengthscale, scores change quickly. The unit is that of the"
        " parameter, decades after `log10`, and that of the kernel for an option.",
        [Section(title="Median, shortest and longest of the pairs", rows=rows_of(recorded))],
        json_file=json_file,
    )


def rows_of(curves: Curves) -> list[Row]:
    """Return one row for each coordinate of the space."""
    by_pair = [recorded_lengthscales(curves, curves.pairs.keys() - {pair}) for pair in curves.pairs]
    return [
        {
            "coordinate": name,
            "median": float(f"{length:.2g}"),
            "shortest": min(lengths[name] for lengths in by_pair),
            "longest": max(lengths[name] for lengths in by_pair),
        }
        for name, length in recorded_lengthscales(curves).items()
    ]


if __name__ == "__main__":
    run(main)
