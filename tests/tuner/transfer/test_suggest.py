"""Recorded curves, and suggestions for new pairs that are learned from them."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nst_core.errors import InputError
from nst_core.losses.inputs import LossInputs
from nst_core.presets.preset import Preset
from nst_core.sample_pictures import sample_content, sample_style
from search_spaces import CATALOGUE, Params, Space
from tests.tuner.helpers import Recorder, nst_tuner
from tuner.job.load import find_space, load_job
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import run_job
from tuner.sampling.encoding import encode
from tuner.sampling.gaussian_process import GaussianProcess, Kernel, fitted_kernel
from tuner.sampling.sobol_grid import planned_point
from tuner.transfer.curves import SHIPPED, Curves, PairCurves, load_curves
from tuner.transfer.picture_statistics import FEATURES, picture_features
from tuner.transfer.suggest import (
    Experience,
    experience_of_run,
    experiences_of,
    fitting,
    similarities,
    suggest_for,
)

SPACE = CATALOGUE["gram"]
KERNEL = Kernel(lengths_D=np.ones(len(encode(SPACE, {}))), noise=1e-6)


def sobol_points(count: int) -> list[Params]:
    """Return the first points of the space's Sobol sequence."""
    drawn = [planned_point("sobol", SPACE, index, 0) for index in range(count)]
    return [point for point in drawn if point is not None]


def curves_of(best_ratios: dict[str, float]) -> Curves:
    """Return artificial curves: each pair has a best ratio, which its features contain."""
    params = sobol_points(40)
    pairs = {}
    for name, best in best_ratios.items():
        loss_N = np.array([abs(float(p["log10_style_content"]) - best) for p in params])
        score_NSM = (0.2 + 0.1 * loss_N[:, None] + np.array([0.3, 0.1]))[..., None]
        pairs[name] = PairCurves(
            name=name,
            features_F=np.full(len(FEATURES), best),
            score_NSM=score_NSM,
            untouched={"lpips": 0.8},
            lengths_D=np.full_like(KERNEL.lengths_D, 0.5 + 0.1 * len(pairs)),
        )
    return Curves(
        space=SPACE,
        params=params,
        steps=(10, 90),
        metrics=("lpips",),
        features=FEATURES,
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
    """In an older file, all pairs have the lengthscales of the kernel."""
    curves = curves_of({"a": 0.0})
    curves.save(tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as file:
        arrays = dict(file)
    header = json.loads(arrays["header"].tobytes())
    del header["pairs"][0]["lengths"]
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(tmp_path / "older.npz", **arrays)
    lengths_D = load_curves(tmp_path / "older.npz").pairs["a"].lengths_D
    np.testing.assert_array_equal(lengths_D, curves.kernel.lengths_D)


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


@pytest.mark.parametrize("size_px", [96, 256])
def test_statistics_do_not_depend_on_the_size(size_px: int) -> None:
    """A pair has about the same statistics at every size that it is tuned at."""
    content, style = sample_content(), sample_style()
    small, large = (
        np.asarray(picture_features(LossInputs.at_size(content, [(style, 1.0)], size)))
        for size in (64, size_px)
    )
    assert np.abs(small - large).max() < 0.05


def bowl(points_ND: np.ndarray) -> np.ndarray:
    """Return two values for each point, which depend on its first two coordinates only."""
    first_N, second_N = points_ND[:, 0], points_ND[:, 1]
    return np.stack([(first_N - 0.3) ** 2 + second_N, 100 * first_N], 1)


def test_gaussian_process_predicts_observed_and_new_points() -> None:
    """Predictions equal the observations, and are near the true values at new points."""
    points_ND = np.random.default_rng(0).random((80, 4))
    kernel = fitted_kernel(points_ND, bowl(points_ND))
    assert kernel.lengths_D[:2].max() < kernel.lengths_D[2:].min()
    predict = GaussianProcess(points_ND[:60], bowl(points_ND[:60]), kernel)
    error_NV = np.abs(predict(points_ND) - bowl(points_ND)) / bowl(points_ND).std(0)
    assert error_NV[:60].max() < 0.02
    assert error_NV[60:].mean() < 0.05


def test_leave_one_out_predictions_use_all_other_points() -> None:
    """A leave-one-out prediction equals that of a Gaussian process without the point."""
    points_ND = np.random.default_rng(1).random((12, 3))
    values_NV = bowl(points_ND)
    kernel = Kernel(lengths_D=np.ones(3), noise=1e-2)
    process = GaussianProcess(points_ND, values_NV, kernel)
    others = np.arange(12) != 5
    # Values are standardized with all points in one case only, so the noise differs a little.
    expected = GaussianProcess(points_ND[others], values_NV[others], kernel)(points_ND[5:6])[0]
    assert process.left_out()[5] == pytest.approx(expected, rel=0.05, abs=0.05)


def test_gaussian_process_of_equal_values_predicts_their_mean() -> None:
    """One point, or several equal values, cause no division by zero."""
    kernel = Kernel(lengths_D=np.ones(2), noise=1e-6)
    for count in (1, 5):
        points_ND = np.random.default_rng(2).random((count, 2))
        predict = GaussianProcess(points_ND, np.full((count, 1), 3.0), kernel)
        assert predict(np.array([[0.5, 0.5]]))[0, 0] == pytest.approx(3.0)


def test_similar_pairs_have_a_larger_weight() -> None:
    """The best configuration of the most similar pair is suggested, with its expected score."""
    curves = curves_of({"low": -1.0, "middle": 0.5, "high": 2.0})
    experiences = experiences_of(curves)
    for name, ratio in (("low", -1.0), ("high", 2.0)):
        features_F = np.full(len(FEATURES), ratio)
        best, *others = suggest_for(features_F, experiences, SPACE, KERNEL, top=3)
        assert best.like[0][0] == name
        assert float(best.params["log10_style_content"]) == pytest.approx(ratio, abs=0.7)
        assert best.share <= min(other.share for other in others)
        assert best.steps > 60


@pytest.mark.parametrize("count", [1, 2, 7])
def test_similarities_sum_to_one(count: int) -> None:
    """The weights of the pairs sum to 1, and an equal pair has the largest weight."""
    known = [np.full(11, float(i)) for i in range(count)]
    weights = similarities(known[-1], known)
    assert weights.sum() == pytest.approx(1)
    assert weights.argmax() == count - 1


def test_diverged_configuration_counts_as_bad() -> None:
    """A configuration without scores is neither suggested nor an error."""
    curves = curves_of({"a": 0.0})
    curves.pairs["a"].score_NSM[5] = np.nan
    (experience,) = experiences_of(curves)
    assert isinstance(experience, Experience)
    assert experience.share_N[5] == 2.0
    best, *_ = suggest_for(experience.features_F, [experience], SPACE, KERNEL)
    assert curves.params[5] != best.params


def test_statistics_are_finite_and_differ_between_pictures() -> None:
    """Statistics are finite even for a flat picture, and differ for different pictures."""
    flat, noisy = torch.full((3, 48, 64), 0.5), torch.rand(3, 48, 64)
    both = [
        picture_features(LossInputs.at_size(content, [(style, 1.0)], 64))
        for content, style in ((flat, noisy), (noisy, flat))
    ]
    assert all(len(features) == len(FEATURES) and np.isfinite(features).all() for features in both)
    assert both[0] != both[1]


def test_fitting_keeps_values_that_are_valid_in_another_space() -> None:
    """Values that are valid in the other space are kept, and its sampler chooses the others."""
    start: Params = SPACE.initial_points[1]
    small = Space(
        name="small",
        why="-",
        params={k: v for k, v in SPACE.params.items() if k in ("lr", "tv", "tv_weight")},
    )
    valid: Any = fitting(start, small)
    assert valid == {k: start[k] for k in ("lr", "tv", "tv_weight")}
    assert fitting({"lr": 99.0, "tv_weight": 20.0}, small) == {}
    assert fitting(start, find_space("gram")) == start


def test_package_contains_curves_of_the_current_space() -> None:
    """The shipped curves are a small file, fit the space `gram`, and predict well."""
    curves = load_curves()
    assert SHIPPED.stat().st_size < 1_000_000
    assert curves.space.params == SPACE.params
    assert tuple(curves.features) == FEATURES
    assert len(curves.params) * len(curves.pairs) >= 1000
    assert all(fitting(params, SPACE) == params for params in curves.params)
    for pair in curves.pairs.values():
        metric = curves.metrics.index("lpips")
        lpips_NS = pair.score_NSM[:, :, metric]
        predicted_NS = curves.left_out(pair.name)[:, :, metric]
        assert np.nanmin(lpips_NS) < 0.8 * pair.untouched["lpips"]
        # The settings explain most of the differences between scores.
        error, deviation = predicted_NS - lpips_NS, lpips_NS - lpips_NS.mean(0)
        assert np.abs(error).mean() < 0.6 * np.abs(deviation).mean()


def test_command_suggests_configurations(pictures: Path, tmp_path: Path) -> None:
    """The command shows settings, steps and similar pairs, and writes a usable preset."""
    content, style = (pictures / f"{name}.png" for name in ("content", "style"))
    command = ("suggest", "--content", content, "--style", style, "--size-px", 64, "--no-try")
    done = nst_tuner(*command)
    assert done.returncode == 0 and "Most similar tuned pairs:" in done.stdout
    done = nst_tuner(*command, "--top", 2, "--json", "--out", tmp_path / "first.json")
    first, second = json.loads(done.stdout)["suggestions"]
    assert first["share"] <= second["share"] < 1
    assert first["params"] != second["params"]
    preset = Preset.from_json((tmp_path / "first.json").read_text(), "first.json")
    assert preset.config.to_dict() == first["config"]
    assert preset.config.steps == first["steps"]


def test_suggestions_learn_from_runs(job_file: Path, tmp_path: Path) -> None:
    """A run of the same space has the largest weight for its own pictures."""
    job, space = load_job(job_file, ["search.presets=false", "search.trials=3", "space=gram"])
    run_job(job, space, tmp_path / "own", InlineBackend(), callback=Recorder(), say=print)
    pair = job.pairs[0]
    pictures = ("--content", pair.content, "--style", pair.style[0].image)
    command = ("suggest", *pictures, "--no-try", "--json", "--run")
    (first, *_) = json.loads(nst_tuner(*command, tmp_path / "own").stdout)["suggestions"]
    assert max(first["like"], key=first["like"].get) == job.name
    with pytest.raises(InputError, match=r"searched the space gram .* expected gram-wide"):
        experience_of_run(tmp_path / "own", find_space("gram-wide"))
    missing = nst_tuner(*command, tmp_path / "none")
    assert missing.returncode == 2 and "none" in missing.stderr
