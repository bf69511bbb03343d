"""Run: a run for Python and notebooks, with its trials as a table and its pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image

from nst_core.errors import ImageError, RunError
from nst_core.images.decode import open_picture
from nst_core.presets.preset import Preset, StylizerPreset
from nst_core.stylizer_config import Configuration
from tuner.results.results import Results, load_results
from tuner.results.thumbnails import thumbnail
from tuner.study.storage import load_study

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Run:
    """A run directory, read only.

    Attributes:
        results: the results as plain Python objects.
    """

    results: Results

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.results.run.path

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial, the best first; trials without a report come last.

        Columns: ``trial`` (also the index, which has no name), ``state``, ``rank``, ``objective``
        (mean of the finals for finalists), ``gain`` (relative gain over the untouched content:
        0.3 is 30 % better), ``steps``, ``seconds`` (engine time), ``preset``, ``reason``, then
        ``score_NAME`` and ``param_NAME``. Values that a trial does not have are missing (NaN).
        """
        ranked = self.results.ranked()
        ranks = {result.record.trial: (rank, result) for rank, result in enumerate(ranked, start=1)}
        rows = []
        for record in self.results.records:
            if record.final_of is not None:
                continue
            rank, result = ranks.get(record.trial, (None, None))
            row: dict[str, Any] = {
                "trial": record.trial,
                "state": record.state,
                "rank": rank,
                "objective": self.results.score(result) if result else None,
                "gain": self.results.gain(self.results.score(result)) if result else None,
                "steps": result.steps if result else None,
                "seconds": record.seconds,
                "preset": record.preset,
                "reason": record.reason,
            }
            scores = result.rung.scores if result else {}
            row |= {f"score_{name}": value for name, value in scores.items()}
            row |= {f"param_{name}": value for name, value in record.params.items()}
            rows.append(row)
        columns = ["trial", "state", "rank", "objective", "gain", "steps", "seconds", "preset"]
        table = pd.DataFrame(rows, columns=None if rows else [*columns, "reason"])
        whole = {name: "Int64" for name in ("rank", "steps")}
        table = table.astype(whole).sort_values(["rank", "trial"], na_position="last")
        # pandas refuses to sort or group by a name that both a column and the index have.
        return table.set_index("trial", drop=False).rename_axis(None)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per report: ``trial``, ``steps``, ``objective``, ``seconds``, ``score_NAME``."""
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

    def preset(self, trial: int | None = None) -> Preset | StylizerPreset:
        """Return the configuration of a trial as a preset with its provenance.

        Args:
            trial: number of the trial; by default the best one.

        Raises:
            RunError: there is no such trial, or it has not reported a score.
        """
        return self.results.preset(trial)

    @property
    def best(self) -> Configuration:
        """The best configuration.

        Raises:
            RunError: no trial has reported a score.
        """
        return self.preset().config

    def image(self, trial: int | None = None, pair: int = 0) -> Image.Image:
        """Return the picture that a trial made of a pair, as RGB.

        Args:
            trial: number of the trial; by default the best one.
            pair: number of the pair, from 0.

        Raises:
            RunError: there is no such trial or pair, or the trial has not reported a score.
            ImageError: the picture file is missing or damaged.
        """
        self._check_pair(pair)
        number = self.results.trial_result(trial).record.trial
        with open_picture(self.path / self.results.run.image(number, pair)) as picture:
            return picture.convert("RGB")

    def inputs(self, pair: int = 0, size_px: int = 512) -> dict[str, Image.Image]:
        """Return the input pictures of a pair by role.

        The roles are ``content``, ``style``, then ``style2``, ``style3`` … for further style
        images in the order of the job, and ``reference``. The weights of the style images are in
        ``results.job.pairs[pair].style``.

        Args:
            pair: number of the pair, from 0.
            size_px: maximum of the longer side; smaller pictures keep their size.

        Raises:
            RunError: there is no such pair.
            ImageError: a file is missing or damaged.
        """
        self._check_pair(pair)
        pictures = {}
        for role, path in self.results.input_files(pair).items():
            picture = thumbnail(path, size_px)
            if picture is None:
                raise ImageError(f"{path}: cannot be read as a picture; restore the file")
            pictures[role] = picture
        return pictures

    def _check_pair(self, pair: int) -> None:
        last = len(self.results.job.pairs) - 1
        if not 0 <= pair <= last:
            has = f"pairs 0 to {last}" if last else "pair 0"
            raise RunError(f"{self.path}: no pair {pair}; this run has {has}")

    @property
    def study(self) -> optuna.Study:
        """The Optuna study of the run. Do not change it while a launch or resume is running.

        Everything that Optuna has no field for is in the user attributes of its trials. Trials that
        were stopped early are pruned; their scores are in their intermediate values only.
        """
        return load_study(self.path).study


def load_run(folder: str | Path) -> Run:
    """Return the run in a directory, finished or not.

    Raises:
        RunError: the folder is no run directory, or it is damaged.
    """
    return Run(load_results(Path(os.path.expanduser(folder))))  # noqa: PTH111
