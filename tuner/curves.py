"""Recorded learning curves: what configurations of a space reached on real pairs, step by step.

`python -m benchmarks.record` makes the file. The simulator replays it, and `suggest` learns from
it which configurations suit which pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from nst_core.errors import InputError
from search_spaces import Params, Space, space_from_dict, space_to_dict
from tuner.nearest import encode, encode_all, nearest

#: The curves that come with the package.
SHIPPED = Path(__file__).parent / "data" / "curves.npz"


@dataclass(frozen=True, kw_only=True)
class PairCurves:
    """The curves of one pair.

    Attributes:
        name: of the pair.
        features_F: statistics of its pictures, in the order of the file's ``features``.
        score_NSM: scores of N configurations at S steps by M metrics; NaN where a lane diverged.
        untouched: metric -> score of the content as it is.
    """

    name: str
    features_F: np.ndarray
    score_NSM: np.ndarray
    untouched: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A file of curves.

    Attributes:
        space: where the configurations come from.
        params: one for each configuration.
        steps: at which they were scored.
        metrics: by which.
        features: names of the statistics of pictures.
        pairs: by name.
        size_px: longer side of the results.
    """

    space: Space
    params: Sequence[Params]
    steps: Sequence[int]
    metrics: Sequence[str]
    features: Sequence[str]
    pairs: Mapping[str, PairCurves]
    size_px: int

    @cached_property
    def _points_ND(self) -> np.ndarray:
        return encode_all(self.space, self.params)

    def scores(
        self, pair: str, params: Params, steps: int, *, without: int | None = None
    ) -> dict[str, float]:
        """Scores of any configuration of the space after ``steps``, guessed from the nearest ones.

        Between recorded steps the logarithm of the steps is interpolated. A configuration that was
        recorded gets its own scores. Where the nearest one diverged, so does the guess (NaN); of
        the others those that did are left out.

        Args:
            pair: name of a recorded pair.
            params: of the space.
            steps: at least 1; beyond the last recorded step nothing changes.
            without: index of a configuration to leave out, to see how good the guess is.
        """
        found_K, weight_K = nearest(self._points_ND, encode(self.space, params), without=without)
        curve_KSM = self.pairs[pair].score_NSM[found_K]
        at = np.interp(np.log(steps), np.log(self.steps), np.arange(len(self.steps)))
        low = int(at)
        score_KM = curve_KSM[:, low]
        if at > low:
            score_KM = score_KM + (at - low) * (curve_KSM[:, low + 1] - score_KM)
        known_K = ~np.isnan(score_KM).any(1)
        if not known_K[0]:
            return dict.fromkeys(self.metrics, math.nan)
        found_M = weight_K[known_K] @ score_KM[known_K] / weight_K[known_K].sum()
        return dict(zip(self.metrics, found_M.tolist(), strict=True))

    def save(self, path: Path) -> None:
        """Write as an ``.npz`` of plain arrays."""
        header = {
            "space": space_to_dict(self.space),
            "steps": list(self.steps),
            "metrics": list(self.metrics),
            "features": list(self.features),
            "size_px": self.size_px,
            "params": [dict(params) for params in self.params],
            "pairs": [
                {"name": pair.name, "untouched": dict(pair.untouched)}
                for pair in self.pairs.values()
            ],
        }
        pairs = self.pairs.values()
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path,
            header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
            # Half precision keeps three digits, which is what a score is good to.
            score_PNSM=np.stack([pair.score_NSM for pair in pairs]).astype(np.float16),
            features_PF=np.stack([pair.features_F for pair in pairs]).astype(np.float32),
        )


def load_curves(path: Path | None = None) -> Curves:
    """Read what `Curves.save` wrote, by default `SHIPPED`; nothing in it is run.

    Raises:
        InputError: there is no such file, or it is something else.
    """
    path = SHIPPED if path is None else path
    if not path.is_file():
        raise InputError(
            f"{path}: no recorded curves; `python -m benchmarks.record` makes them from pairs of"
            " yours, and the package brings some: if they are missing, install it again"
        )
    try:
        with np.load(path, allow_pickle=False) as content:
            header = json.loads(content["header"].tobytes())
            arrays = {
                name: content[name].astype(np.float64) for name in content if name != "header"
            }
        found = enumerate(header["pairs"])
        pairs = {
            known["name"]: PairCurves(
                name=known["name"],
                features_F=arrays["features_PF"][index],
                score_NSM=arrays["score_PNSM"][index],
                untouched=known["untouched"],
            )
            for index, known in found
        }
        return Curves(
            space=space_from_dict(header["space"], str(path)),
            params=header["params"],
            steps=header["steps"],
            metrics=header["metrics"],
            features=header["features"],
            pairs=pairs,
            size_px=header["size_px"],
        )
    except (OSError, EOFError, BadZipFile, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a file of recorded curves ({error})") from None
