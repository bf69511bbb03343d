"""FeatureStore: caching, limits and sharing of targets."""

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
    """Counts the passes of images through a network to compute targets."""

    passes = 0

    def _features(self, *arguments: Any) -> list[tuple[str, Tensor]]:
        self.passes += 1
        return super()._features(*arguments)


@pytest.fixture
def store(random_weights: Callable[[str], Weights]) -> CountingStore:
    return CountingStore(random_weights, dtype=torch.float64)


def frame_inputs(seed: int, *styles: Style) -> LossInputs:
    """Return inputs with one of many content images of the same size."""
    content = torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(seed))
    return LossInputs.at_size(content, styles or [STYLE], 40)


def run(store: FeatureStore, config: StyleConfig, inputs: LossInputs) -> Tensor:
    """Run a whole stylization and return its last image."""
    saved, done = None, 0
    while done < config.steps:
        batch = LaneBatch(store)
        batch.add("x", config, inputs, saved)
        steps = batch.stage_steps_left
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
def test_the_cache_of_targets_is_limited(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch, changes: list[dict[str, Any]]
) -> None:
    """Settings that need targets of their own do not fill the memory, and results stay equal."""
    first = run(store, CONFIG, frame_inputs(0))
    max_bytes = store._targets.bytes * 2
    monkeypatch.setattr(store, "_targets", ByteLRU(max_bytes))
    for changed in changes:
        for seed in range(4):
            run(store, CONFIG.replace(**changed), frame_inputs(seed))
            assert 0 < store._targets.bytes <= max_bytes
    assert torch.equal(run(store, CONFIG, frame_inputs(0)), first)


def test_a_sparse_matrix_counts_with_its_entries() -> None:
    """The size of a sparse matting Laplacian does not include its zeros."""
    cache = ByteLRU(10_000)
    cache.update({("laplacian",): torch.eye(100).to_sparse()})
    assert cache.bytes == 100 * (4 + 2 * 8)


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
def test_forgotten_inputs_leave_no_targets(store: CountingStore, fields: dict[str, Any]) -> None:
    """After many inputs were forgotten, the store holds as many bytes as after the first."""
    config = CONFIG.replace(**fields)
    sizes = []
    for seed in range(4):
        inputs = frame_inputs(seed, STYLE, OTHER)
        run(store, config, inputs)
        assert store._targets.bytes > (sizes[-1] if sizes else 0)
        store.forget(inputs)
        sizes.append(store._targets.bytes)
    assert len(set(sizes)) == 1


def test_contents_of_one_size_share_style_targets(store: CountingStore) -> None:
    """Another content image costs one pass for its own targets and none for its styles."""
    run(store, CONFIG, frame_inputs(0, STYLE, OTHER))
    first = store.passes
    run(store, CONFIG, frame_inputs(1, OTHER, STYLE))
    assert (first, store.passes - first) == (3, 1)


@pytest.mark.parametrize("fields", [{"match_colors": "mean"}, {"preserve_color": "luminance"}])
def test_a_recolored_style_has_targets_per_content(
    store: CountingStore, random_weights: Callable[[str], Weights], fields: dict[str, Any]
) -> None:
    """If styles take over content colors, results equal those of a store of their own."""
    config = CONFIG.replace(**fields)
    for seed in range(2):
        alone = run(FeatureStore(random_weights, dtype=torch.float64), config, frame_inputs(seed))
        assert torch.equal(run(store, config, frame_inputs(seed)), alone)
    assert store.passes == 4


def test_masks_sizes_and_weights_distinguish_style_targets(
    store: CountingStore, random_weights: Callable[[str], Weights]
) -> None:
    """A style image with another mask, size or weight has another target."""
    part = torch.zeros(36, 32)
    part[:12] = 1
    masked = Style(image_3HW=STYLE.image_3HW, style_region_HW=part)
    lighter = Style(image_3HW=OTHER.image_3HW, weight=0.2)
    cases = [
        (CONFIG, frame_inputs(0)),
        (CONFIG, frame_inputs(0, masked)),
        (CONFIG.replace(style_scale=0.8), frame_inputs(0)),
        (CONFIG, frame_inputs(0, STYLE, OTHER)),
        (CONFIG, frame_inputs(0, STYLE, lighter)),
    ]
    results = []
    for config, inputs in cases:
        alone = run(FeatureStore(random_weights, dtype=torch.float64), config, inputs)
        results.append(run(store, config, inputs))
        assert torch.equal(results[-1], alone)
    assert not any(torch.equal(a, b) for i, a in enumerate(results) for b in results[:i])
