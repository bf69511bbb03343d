"""Curves: recorded learning curves, that is scores of configurations on real pairs over the steps.

`python -m benchmarks.record` makes the file, and the simulator replays the curves.
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

from benchmarks.support.gaussian_process import GaussianProcess, Kernel
from nst_core.errors import InputError
from search_spaces import Params, Space, space_from_dict, space_to_dict
from tuner.sampling.encoding import encode, encode_all

#: File of the committed curves.
COMMITTED = Path(__file__).parents[1] / "data" / "curves.npz"


@dataclass(frozen=True, kw_only=True)
class PairCurves:
    """Learning curves of one pair.

    Attributes:
        name: name of the pair.
        score_NSM: scores of N configurations at S steps by M metrics; NaN if a lane diverged.
        untouched: metric -> score of the untouched content.
    """

    name: str
    score_NSM: np.ndarray
    untouched: Mapping[str, float]

    @property
    def known_N(self) -> np.ndarray:
        """Boolean mask of the configurations that never diverged."""
        return np.asarray(~np.isnan(self.score_NSM).any((1, 2)))


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Learning curves of several pairs, as they are stored in one file.

    Attributes:
        space: search space of the configurations.
        params: parameters of each configuration.
        steps: numbers of steps after which configurations were scored.
        metrics: names of the metrics.
        pairs: name of a pair -> its curves.
        size_px: longer side of the results in pixels.
        kernel: kernel of the Gaussian process that predicts scores of other configurations.
    """

    space: Space
    params: Sequence[Params]
    steps: Sequence[int]
    metrics: Sequence[str]
    pairs: Mapping[str, PairCurves]
    size_px: int
    kernel: Kernel

    @cached_property
    def _points_ND(self) -> np.ndarray:
        return encode_all(self.space, self.params)

    @cached_property
    def _predictors(self) -> dict[str, GaussianProcess]:
        """Pair -> Gaussian process fitted to the configurations that never diverged on the pair."""
        predictors = {}
        for name, pair in self.pairs.items():
            known_N = pair.known_N
            values_NV = pair.score_NSM[known_N].reshape(int(known_N.sum()), -1)
            predictors[name] = GaussianProcess(self._points_ND[known_N], values_NV, self.kernel)
        return predictors

    def scores(self, pair: str, params: Params, steps: int) -> dict[str, float]:
        """Return predicted scores of any configuration of the space.

        Scores between recorded steps are interpolated linearly in the logarithm of the steps.

        Args:
            pair: name of a recorded pair.
            params: parameters of the space.
            steps: number of steps, at least 1; scores do not change after the last recorded step.

        Returns:
            Metric -> score. All scores are NaN if the most similar recorded configuration had
            diverged by then.
        """
        point_1D = encode(self.space, params)[None]
        score_SM = self._predictors[pair](point_1D).reshape(len(self.steps), len(self.metrics))
        index = np.interp(np.log(steps), np.log(self.steps), np.arange(len(self.steps)))
        low = int(index)
        nearest = int(self.kernel(point_1D, self._points_ND)[0].argmax())
        if np.isnan(self.pairs[pair].score_NSM[nearest, : int(np.ceil(index)) + 1]).any():
            return dict.fromkeys(self.metrics, math.nan)
        score_M = score_SM[low]
        if index > low:
            score_M = score_M + (index - low) * (score_SM[low + 1] - score_M)
        return dict(zip(self.metrics, score_M.tolist(), strict=True))

    def left_out(self, pair: str) -> np.ndarray:
        """Return leave-one-out predictions: score_NSM of each configuration from all others.

        Scores of configurations that diverged are NaN.
        """
        predicted_NSM = np.full_like(self.pairs[pair].score_NSM, np.nan)
        left_out_NV = self._predictors[pair].left_out()
        predicted_NSM[self.pairs[pair].known_N] = left_out_NV.reshape(-1, *predicted_NSM.shape[1:])
        return predicted_NSM

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file of plain arrays."""
        header = {
            "space": space_to_dict(self.space),
            "steps": list(self.steps),
            "metrics": list(self.metrics),
            "size_px": self.size_px,
            "kernel": {
                "lengths": self.kernel.lengths_D.tolist(),
                "noise": self.kernel.noise,
                "amplitude": self.kernel.amplitude,
            },
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
            # Half precision keeps three digits; a score has no more significant digits.
            score_PNSM=np.stack([pair.score_NSM for pair in pairs]).astype(np.float16),
        )


def load_curves(path: Path | None = None) -> Curves:
    """Return the curves of a file that `Curves.save` wrote; no code in the file is run.

    Args:
        path: the file; `COMMITTED` if None.

    Raises:
        InputError: there is no such file, or it has another format.
    """
    path = COMMITTED if path is None else path
    if not path.is_file():
        raise InputError(
            f"{path}: this file of recorded curves does not exist;"
            " `python -m benchmarks.record` makes one from your pairs"
        )
    try:
        with np.load(path, allow_pickle=False) as content:
            header = json.loads(content["header"].tobytes())
            score_PNSM = content["score_PNSM"].astype(np.float64)
        pairs = {
            pair["name"]: PairCurves(
                name=pair["name"],
                score_NSM=score_PNSM[index],
                untouched=pair["untouched"],
            )
            for index, pair in enumerate(header["pairs"])
        }
        space = space_from_dict(header["space"], str(path))
        kernel = Kernel(
            lengths_D=np.asarray(header["kernel"]["lengths"], float),
            noise=float(header["kernel"]["noise"]),
            amplitude=float(header["kernel"]["amplitude"]),
        )
        if kernel.lengths_D.shape != encode(space, {}).shape or not (kernel.lengths_D > 0).all():
            raise ValueError("the lengthscales of its kernel do not fit its space")
        return Curves(
            space=space,
            params=header["params"],
            steps=header["steps"],
            metrics=header["metrics"],
            pairs=pairs,
            size_px=header["size_px"],
            kernel=kernel,
        )
    except (OSError, EOFError, BadZipFile, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a file of recorded curves ({error})") from None
