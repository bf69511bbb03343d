"""Recorded learning curves: what configurations of a space reached on real pairs, step by step.

`python -m benchmarks.record` makes the file. The simulator replays it, and `suggest` learns from
it which configurations suit which pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from nst_core.errors import InputError
from search_spaces import Params, Space, space_from_dict, space_to_dict
from tuner.job.objective import Goals
from tuner.sampling.encoding import coordinates, encode, encode_all
from tuner.sampling.gaussian_process import GaussianProcess, Kernel
from tuner.sampling.lengthscales import Lengths, expected_lengths

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
        lengths_D: over which each coordinate of a configuration matters for its best LPIPS.
    """

    name: str
    features_F: np.ndarray
    score_NSM: np.ndarray
    untouched: Mapping[str, float]
    lengths_D: np.ndarray

    @property
    def known_N(self) -> np.ndarray:
        """Which configurations never diverged."""
        return np.asarray(~np.isnan(self.score_NSM).any((1, 2)))


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
        kernel: how alike configurations are expected to score.
    """

    space: Space
    params: Sequence[Params]
    steps: Sequence[int]
    metrics: Sequence[str]
    features: Sequence[str]
    pairs: Mapping[str, PairCurves]
    size_px: int
    kernel: Kernel

    @cached_property
    def _points_ND(self) -> np.ndarray:
        return encode_all(self.space, self.params)

    @cached_property
    def _guesses(self) -> dict[str, GaussianProcess]:
        """Of each pair, from the configurations that never diverged there."""
        found = {}
        for name, pair in self.pairs.items():
            known_N = pair.known_N
            values_NV = pair.score_NSM[known_N].reshape(int(known_N.sum()), -1)
            found[name] = GaussianProcess(self._points_ND[known_N], values_NV, self.kernel)
        return found

    def scores(self, pair: str, params: Params, steps: int) -> dict[str, float]:
        """Scores of any configuration of the space after ``steps``, guessed from those recorded.

        Between recorded steps the logarithm of the steps is interpolated. Where the most similar
        configuration had diverged, so has the guess (NaN).

        Args:
            pair: name of a recorded pair.
            params: of the space.
            steps: at least 1; beyond the last recorded step nothing changes.
        """
        point_1D = encode(self.space, params)[None]
        score_SM = self._guesses[pair](point_1D).reshape(len(self.steps), len(self.metrics))
        at = np.interp(np.log(steps), np.log(self.steps), np.arange(len(self.steps)))
        low = int(at)
        nearest = int(self.kernel(point_1D, self._points_ND)[0].argmax())
        if np.isnan(self.pairs[pair].score_NSM[nearest, : int(np.ceil(at)) + 1]).any():
            return dict.fromkeys(self.metrics, math.nan)
        score_M = score_SM[low]
        if at > low:
            score_M = score_M + (at - low) * (score_SM[low + 1] - score_M)
        return dict(zip(self.metrics, score_M.tolist(), strict=True))

    def left_out(self, pair: str) -> np.ndarray:
        """Scores_NSM of each configuration, guessed from all others; NaN where it diverged."""
        found_NSM = np.full_like(self.pairs[pair].score_NSM, np.nan)
        left_out_NV = self._guesses[pair].left_out()
        found_NSM[self.pairs[pair].known_N] = left_out_NV.reshape(-1, *found_NSM.shape[1:])
        return found_NSM

    def save(self, path: Path) -> None:
        """Write as an ``.npz`` of plain arrays."""
        header = {
            "space": space_to_dict(self.space),
            "steps": list(self.steps),
            "metrics": list(self.metrics),
            "features": list(self.features),
            "size_px": self.size_px,
            "kernel": {
                "lengths": self.kernel.lengths_D.tolist(),
                "noise": self.kernel.noise,
                "amplitude": self.kernel.amplitude,
            },
            "params": [dict(params) for params in self.params],
            "pairs": [
                {
                    "name": pair.name,
                    "untouched": dict(pair.untouched),
                    "lengths": pair.lengths_D.tolist(),
                }
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
                # Files of before had those of all pairs together only.
                lengths_D=np.asarray(known.get("lengths", header["kernel"]["lengths"]), float),
            )
            for index, known in found
        }
        space = space_from_dict(header["space"], str(path))
        kernel = Kernel(
            lengths_D=np.asarray(header["kernel"]["lengths"], float),
            noise=float(header["kernel"]["noise"]),
            amplitude=float(header["kernel"]["amplitude"]),
        )
        for lengths_D in (kernel.lengths_D, *(pair.lengths_D for pair in pairs.values())):
            if lengths_D.shape != encode(space, {}).shape or not (lengths_D > 0).all():
                raise ValueError("its kernels are not of its space")
        return Curves(
            space=space,
            params=header["params"],
            steps=header["steps"],
            metrics=header["metrics"],
            features=header["features"],
            pairs=pairs,
            size_px=header["size_px"],
            kernel=kernel,
        )
    except (OSError, EOFError, BadZipFile, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a file of recorded curves ({error})") from None


def known_lengths(curves: Curves, but: Container[str] = ()) -> Lengths:
    """What most pairs of a file have in common.

    Args:
        curves: of the pairs.
        but: names of pairs to leave out.
    """
    every = [pair.lengths_D for name, pair in curves.pairs.items() if name not in but]
    if not every:
        return {}
    lengths_D = np.exp(np.median(np.log(every), axis=0))
    return {
        name: float(length * extent)
        for (name, extent), length in zip(coordinates(curves.space), lengths_D, strict=True)
    }


#: The objective whose recorded curves they are learned from.
LEARNED_FROM = "lpips"


def lengths_for(space: Space, goals: Goals, curves: Curves) -> tuple[Lengths, str | None]:
    """The lengths that a search may start with, and one line where its objective allows none.

    Over which distance a parameter changes LPIPS says nothing of another measure: by colors, for
    example, a parameter may matter that LPIPS hardly sees.
    """
    known = known_lengths(curves)
    if goals.name == LEARNED_FROM or np.isnan(expected_lengths(space, known)).all():
        return known, None
    return {}, (
        f"the objective is {goals.name}: what is known beforehand about which parameters matter is"
        f" not used, since it was learned from {LEARNED_FROM}"
    )
