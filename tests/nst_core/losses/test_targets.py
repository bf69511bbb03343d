from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nst_core.config import StyleConfig
from nst_core.lanes.batch import LaneBatch
from nst_core.losses.byte_lru import ByteLRU
from nst_core.losses.inputs import LossInputs, Style
from nst_core.losses.targets import FeatureStore
from nst_core.networks.weights import Weights

CONFIG = StyleConfig(
    style_layers={"relu1_1": 1, "relu2_1": 1}, content_layers={"relu2_2": 1}, steps=4, size_px=40
)
STYLE = Style(image_3HW=torch.rand(3, 36, 32, generator=torch.Generator().manual_seed(9)))
OTHER = Style(image_3HW=torch.rand(3, 36, 48, generator=torch.Generator().manual_seed(8)), weight=3)


class CountingStore(FeatureStore):
    """Counts how often a picture goes through the network to become a target."""

    passes = 0

    def _features(self, *arguments: Any) -> list[tuple[str, Tensor]]:
        self.passes += 1
        return super()._features(*arguments)


@pytest.fixture
def store(random_weights: Callable[[str], Weights]) -> CountingStore:
    return CountingStore(random_weights, dtype=torch.float64)


def frame(seed: int, *styles: Style) -> LossInputs:
    """One of many pictures of one size."""
    content = torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(seed))
    return LossInputs.at_size(content, styles or [STYLE], 40)


def run(store: FeatureStore, config: StyleConfig, inputs: LossInputs) -> Tensor:
    """A whole stylization; gives its last iterate."""
    saved, done = None, 0
    while done < config.steps:
        batch = LaneBatch(store)
        batch.add("x", config, inputs, saved)
        steps = batch.room
        batch.advance(steps)
        done += steps
        saved = batch.save("x")
    assert saved is not None
    return saved.image_3HW


@pytest.mark.parametrize(
    "changes",
    [
        [{"style_scale": scale} for scale in (0.8, 0.9, 1.1, 1.2)],
        [{"content_layers": {layer: 1}} for layer in ("relu1_1", "relu1_2", "relu2_1", "relu3_1")],
        [{"normalization": name} for name in ("caffe", "half", "imagenet")],
        [{"color_weight": 1.0, "match_colors": name} for name in ("none", "mean", "mean_cov")],
    ],
    ids=lambda changes: ", ".join(changes[0]),
)
def test_what_is_kept_is_bounded(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch, changes: list[dict[str, Any]]
) -> None:
    """Settings of which each value has targets of its own fill no memory, and change no result."""
    first = run(store, CONFIG, frame(0))
    most = store._made.bytes * 2
    monkeypatch.setattr(store, "_made", ByteLRU(most))
    for changed in changes:
        for seed in range(4):
            run(store, CONFIG.replace(**changed), frame(seed))
            assert 0 < store._made.bytes <= most
    assert torch.equal(run(store, CONFIG, frame(0)), first)


def test_a_sparse_matrix_counts_what_it_takes() -> None:
    """The matting Laplacian counts by its entries: by its zeros it would push out all others."""
    recent = ByteLRU(10_000)
    recent.update({("laplacian",): torch.eye(100).to_sparse()})
    assert recent.bytes == 100 * (4 + 2 * 8)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"scales": 2, "color_weight": 1.0},
        {"match_colors": "mean_cov"},
        {"preserve_color": "luminance", "color_weight": 1.0},
    ],
    ids=str,
)
def test_what_is_kept_does_not_grow_with_pictures(
    store: CountingStore, fields: dict[str, Any]
) -> None:
    """After each of many pictures that are forgotten, as many targets are there as after one."""
    config = CONFIG.replace(**fields)
    kept = []
    for seed in range(4):
        inputs = frame(seed, STYLE, OTHER)
        run(store, config, inputs)
        assert store._made.bytes > (kept[-1] if kept else 0)
        store.forget(inputs)
        kept.append(store._made.bytes)
    assert len(set(kept)) == 1


def test_a_style_is_computed_once_for_pictures_of_a_size(store: CountingStore) -> None:
    """A further picture goes through the network once a layer, for its content, and no style."""
    run(store, CONFIG, frame(0, STYLE, OTHER))
    first = store.passes
    run(store, CONFIG, frame(1, OTHER, STYLE))
    assert (first, store.passes - first) == (3, 1)


@pytest.mark.parametrize("fields", [{"match_colors": "mean"}, {"preserve_color": "luminance"}])
def test_a_recoloured_style_is_computed_for_each_picture(
    store: CountingStore, random_weights: Callable[[str], Weights], fields: dict[str, Any]
) -> None:
    """Where a style takes the content's colours, every picture comes out as it would alone."""
    config = CONFIG.replace(**fields)
    for seed in range(2):
        alone = run(FeatureStore(random_weights, dtype=torch.float64), config, frame(seed))
        assert torch.equal(run(store, config, frame(seed)), alone)
    assert store.passes == 4


def test_masks_and_weights_tell_styles_apart(
    store: CountingStore, random_weights: Callable[[str], Weights]
) -> None:
    """One style image with another part that counts, size or share is another target."""
    part = torch.zeros(36, 32)
    part[:12] = 1
    masked = Style(image_3HW=STYLE.image_3HW, style_region_HW=part)
    lighter = Style(image_3HW=OTHER.image_3HW, weight=0.2)
    cases = [
        (CONFIG, frame(0)),
        (CONFIG, frame(0, masked)),
        (CONFIG.replace(style_scale=0.8), frame(0)),
        (CONFIG, frame(0, STYLE, OTHER)),
        (CONFIG, frame(0, STYLE, lighter)),
    ]
    results = []
    for config, inputs in cases:
        alone = run(FeatureStore(random_weights, dtype=torch.float64), config, inputs)
        results.append(run(store, config, inputs))
        assert torch.equal(results[-1], alone)
    assert not any(torch.equal(a, b) for i, a in enumerate(results) for b in results[:i])
