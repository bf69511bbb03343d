"""A run for Python: its trials as a table, its best configuration, its pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image

from nst_core.config import StyleConfig
from nst_core.errors import ImageError, RunError
from nst_core.images.decode import open_picture
from nst_core.presets.preset import Preset
from tuner.results.results import Results, load_results
from tuner.results.thumbnails import thumbnail
from tuner.study.storage import load_study

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Run:
    """A run directory, read only.

    Attributes:
        results: everything that is known about it, as plain objects.
    """

    results: Results

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.results.run.path

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per configuration, the best first; those without a report come last.

        Columns: ``trial`` (also the index, which has no name), ``state``, ``rank``, ``objective``
        (mean of the finals where it is a finalist), ``gain`` (share by which it is better than the
        untouched content), ``steps``, ``seconds`` (engine time), ``preset``, ``reason``, then
        ``score_NAME`` and ``param_NAME``; what a trial does not have is missing.
        """
        ranked = self.results.ranked()
        known = {found.record.trial: (rank, found) for rank, found in enumerate(ranked, start=1)}
        rows = []
        for record in self.results.records:
            if record.final_of is not None:
                continue
            rank, found = known.get(record.trial, (None, None))
            row: dict[str, Any] = {
                "trial": record.trial,
                "state": record.state,
                "rank": rank,
                "objective": self.results.score(found) if found else None,
                "gain": self.results.gain(self.results.score(found)) if found else None,
                "steps": found.steps if found else None,
                "seconds": record.seconds,
                "preset": record.preset,
                "reason": record.reason,
            }
            scores = found.rung.scores if found else {}
            row |= {f"score_{name}": value for name, value in scores.items()}
            row |= {f"param_{name}": value for name, value in record.params.items()}
            rows.append(row)
        columns = ["trial", "state", "rank", "objective", "gain", "steps", "seconds", "preset"]
        table = pd.DataFrame(rows, columns=None if rows else [*columns, "reason"])
        whole = {name: "Int64" for name in ("rank", "steps")}
        table = table.astype(whole).sort_values(["rank", "trial"], na_position="last")
        # An index that is called as a column is makes pandas refuse to sort and to group by it.
        return table.set_index("trial", drop=False).rename_axis(None)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per report: ``trial``, ``steps``, ``objective``, ``seconds`` and all scores."""
        rows = [
            {
                "trial": record.trial,
                "steps": steps,
                "objective": rung.objective,
                "seconds": rung.seconds,
                **{f"score_{name}": value for name, value in rung.scores.items()},
            }
            for record in self.results.records
            for steps, rung in record.rungs.items()
        ]
        return pd.DataFrame(rows, columns=None if rows else ["trial", "steps", "objective"])

    def preset(self, trial: int | None = None) -> Preset:
        """The best configuration with its provenance, or that of a trial.

        Raises:
            RunError: no such trial has reported.
        """
        return self.results.preset(trial)

    @property
    def best(self) -> StyleConfig:
        """The best configuration.

        Raises:
            RunError: no trial has reported.
        """
        return self.preset().config

    def image(self, trial: int | None = None, pair: int = 0) -> Image.Image:
        """A trial's picture on a pair, of the best trial by default, as RGB.

        Raises:
            RunError: there is no such trial or pair, or the trial has not reported.
            ImageError: its file is missing or damaged.
        """
        self._check_pair(pair)
        number = self.results.found(trial).record.trial
        with open_picture(self.path / self.results.run.image(number, pair)) as picture:
            return picture.convert("RGB")

    def inputs(self, pair: int = 0, size_px: int = 512) -> dict[str, Image.Image]:
        """Content, style and reference of a pair, by role, at most ``size_px`` on the longer side.

        Further style images are called ``style2``, ``style3`` … in the job's order; what they
        weigh is in ``results.job.pairs[pair].style``.

        Raises:
            RunError: there is no such pair.
            ImageError: a file is missing or damaged.
        """
        self._check_pair(pair)
        spec = self.results.job.pairs[pair]
        styles = {
            f"style{number}" if number > 1 else "style": style.image
            for number, style in enumerate(spec.style, 1)
        }
        files = {"content": spec.content, **styles, "reference": spec.reference_file}
        found = {}
        for role, name in files.items():
            picture = thumbnail(self.path / name, size_px)
            if picture is None:
                raise ImageError(f"{self.path / name}: cannot be read as a picture")
            found[role] = picture
        return found

    def _check_pair(self, pair: int) -> None:
        last = len(self.results.job.pairs) - 1
        if not 0 <= pair <= last:
            has = f"pairs 0 to {last}" if last else "pair 0"
            raise RunError(f"{self.path}: no pair {pair}; this run has {has}")

    @property
    def study(self) -> optuna.Study:
        """Optuna's own study, for its Python API. Do not tell or change trials while a launch runs.

        What a trial is beyond Optuna's fields stands in its user attributes; the trials that were
        stopped early count as pruned, and only their intermediate values say what they reached.
        """
        return load_study(self.path).study


def load_run(folder: str | Path) -> Run:
    """Read a run directory, whether the run is over or not.

    Raises:
        RunError: it is none, or it is damaged.
    """
    return Run(load_results(Path(os.path.expanduser(folder))))  # noqa: PTH111
