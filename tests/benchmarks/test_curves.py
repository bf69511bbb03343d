"""Recorded curves, and predictions from them."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.support.curves import (
    COMMITTED,
    Curves,
    PairCurves,
    load_curves,
)
from benchmarks.support.gaussian_process import Kernel
from nst_core.errors import InputError
from search_spaces import CATALOGUE, Params
from tuner.sampling.encoding import encode
from tuner.sampling.sobol_grid import planned_point

SPACE = CATALOGUE["gram"]
KERNEL = Kernel(lengths_D=np.ones(len(encode(SPACE, {}))), noise=1e-6)


def sobol_points(count: int) -> list[Params]:
    """Return the first points of the space's Sobol sequence."""
    drawn = [planned_point("sobol", SPACE, index, 0) for index in range(count)]
    return [point for point in drawn if point is not None]


def curves_of(best_ratios: dict[str, float]) -> Curves:
    """Return artificial curves: each pair has a best ratio."""
    params = sobol_points(40)
    pairs = {}
    for name, best in best_ratios.items():
        loss_N = np.array([abs(float(p["log10_style_content"]) - best) for p in params])
        score_NSM = (0.2 + 0.1 * loss_N[:, None] + np.array([0.3, 0.1]))[..., None]
        pairs[name] = PairCurves(
            name=name,
            score_NSM=score_NSM,
            untouched={"lpips": 0.8},
        )
    return Curves(
        space=SPACE,
        params=params,
        steps=(10, 90),
        metrics=("lpips",),
        pairs=pairs,
        size_px=64,
        kernel=KERNEL,
    )


def test_saved_curves_are_loaded_unchanged(tmp_path: Path) -> None:
    """Curves that are saved and loaded are equal up to three digits of the scores."""
    curves = curves_of({"a": 0.0, "b": 2.0})
    curves.save(tmp_path / "c.npz")
    loaded = load_curves(tmp_path / "c.npz")
    assert loaded.params == curves.params
    assert (loaded.steps, loaded.size_px) == ([10, 90], 64)
    scores = curves.scores("b", curves.params[3], 30)
    assert loaded.scores("b", curves.params[3], 30) == pytest.approx(scores, rel=1e-2)


@pytest.mark.parametrize("lengths", [np.ones(3), np.zeros_like(KERNEL.lengths_D)])
def test_kernel_of_another_space_is_refused(tmp_path: Path, lengths: np.ndarray) -> None:
    """A kernel must have a lengthscale above 0 for each coordinate of the space."""
    kernel = Kernel(lengths_D=lengths, noise=0.1)
    replace(curves_of({"a": 0.0}), kernel=kernel).save(tmp_path / "c.npz")
    with pytest.raises(InputError, match="kernel"):
        load_curves(tmp_path / "c.npz")


def test_older_file_of_curves_is_readable(tmp_path: Path) -> None:
    """Lengthscales of pairs and statistics of pictures, in older files, are not read."""
    curves = curves_of({"a": 0.0})
    curves.save(tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as file:
        arrays = dict(file)
    header = json.loads(arrays["header"].tobytes())
    header["pairs"][0]["lengths"] = [1.0]
    header["features"] = ["content_light"]
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(tmp_path / "older.npz", **arrays, features_PF=np.zeros((1, 1)))
    assert load_curves(tmp_path / "older.npz").kernel.noise == curves.kernel.noise


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"\x93NUMPY"])
def test_file_of_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that does not contain curves is refused with a message that names it."""
    path = tmp_path / "c.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a file of recorded curves"):
        load_curves(path)


def test_scores_between_recorded_steps_are_interpolated() -> None:
    """Predictions equal recorded scores, and are linear in the logarithm of the steps between."""
    curves = curves_of({"a": 0.5})
    first = curves.params[0]
    recorded = curves.pairs["a"].score_NSM[0, :, 0]
    assert curves.scores("a", first, 10)["lpips"] == pytest.approx(recorded[0], abs=1e-4)
    assert curves.scores("a", first, 30)["lpips"] == pytest.approx(recorded.mean(), abs=1e-4)
    assert curves.scores("a", first, 900)["lpips"] == pytest.approx(recorded[1], abs=1e-4)
    own_NS, left_out_NS = curves.pairs["a"].score_NSM[:, :, 0], curves.left_out("a")[:, :, 0]
    assert (left_out_NS != own_NS).all()


def test_diverged_configuration_does_not_affect_others() -> None:
    """A prediction is NaN only if the most similar recorded configuration had diverged by then."""
    curves = curves_of({"a": 0.5})
    score_NSM = curves.pairs["a"].score_NSM
    before = curves.scores("a", curves.params[3], 10)["lpips"]
    score_NSM[7, 1:] = np.nan
    assert math.isfinite(curves.scores("a", curves.params[7], 10)["lpips"])
    assert math.isnan(curves.scores("a", curves.params[7], 11)["lpips"])
    score_NSM[7] = np.nan
    assert math.isnan(curves.scores("a", curves.params[7], 10)["lpips"])
    assert curves.scores("a", curves.params[3], 10)["lpips"] == pytest.approx(before)
    others = [curves.scores("a", params, 90)["lpips"] for params in curves.params[8:]]
    assert np.isfinite(others).all()


def test_committed_curves_predict_well() -> None:
    """The committed curves are a small file, and the settings explain most of the scores."""
    curves = load_curves()
    assert COMMITTED.stat().st_size < 1_000_000
    assert curves.space.params == SPACE.params
    assert len(curves.params) * len(curves.pairs) >= 1000
    for pair in curves.pairs.values():
        metric = curves.metrics.index("lpips")
        lpips_NS = pair.score_NSM[:, :, metric]
        predicted_NS = curves.left_out(pair.name)[:, :, metric]
        assert np.nanmin(lpips_NS) < 0.8 * pair.untouched["lpips"]
        error, deviation = predicted_NS - lpips_NS, lpips_NS - lpips_NS.mean(0)
        assert np.abs(error).mean() < 0.6 * np.abs(deviation).mean()
