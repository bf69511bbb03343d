"""Estimates of memory against measured peaks, and plans."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.memory import measure
from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.lanes import memory
from nst_core.lanes.device import CUDA_GRAPHS_VARIABLE
from nst_core.lanes.memory import (
    GIB,
    LANES_SHARE,
    USABLE_SHARE,
    LaneNeed,
    _activations,
    _container_bytes,
    fixed_bytes,
    lane_need,
    lanes_bytes,
    needed_bytes,
    plan_memory,
)
from nst_core.lanes.step_graph import MAX_PIXELS
from nst_core.networks.registry import EXTRACTORS

CPU = torch.device("cpu")


def needed(config: StyleConfig, height: int, width: int) -> tuple[int, int]:
    """Return the needed bytes without and with activations computed twice."""
    once, twice = (
        needed_bytes(config, height, width, device=CPU, checkpointing=c) for c in (False, True)
    )
    return once, twice


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("extractor", ["vgg16", "mobilenet_v2"])
def test_estimates_are_close_to_peaks(extractor: str, checkpointing: bool) -> None:
    """The estimate is not below 0.9 and not above 1.6 of the measured peak."""
    assert 0.9 < measure(extractor, 512, checkpointing=checkpointing).ratio < 1.6


@pytest.mark.parametrize("masks", [1, 4])
def test_estimates_include_masks(masks: int) -> None:
    """The estimate includes the masked features of each region."""
    assert 0.9 < measure("vgg16", 256, masks=masks).ratio < 1.6


def test_estimates_include_lanes() -> None:
    """The estimate counts every lane of a batch."""
    assert 0.9 < measure("vgg16", 192, lanes=4).ratio < 1.6


def test_the_page_cache_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free memory of a container includes its page cache."""
    monkeypatch.setattr("nst_core.lanes.memory._CGROUP", tmp_path)
    contents = {"memory.max": 1000, "memory.current": 900}
    for name, content in contents.items():
        (tmp_path / name).write_text(f"{content}\n")
    assert _container_bytes() == math.inf
    (tmp_path / "memory.stat").write_text("anon 200\ninactive_file 650\nactive_file 50\n")
    assert _container_bytes() == 750
    (tmp_path / "memory.stat").write_text("anon 200\n")
    assert _container_bytes() == 100


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_memory_grows_with_pixels_and_lanes(extractor: str) -> None:
    """Memory is linear in pixels and in lanes, and smaller with activations computed twice."""
    config = StyleConfig(extractor=extractor)

    def variable_bytes(side: int, **options: Any) -> int:
        needed = needed_bytes(config, side, side, device=CPU, **options)
        return needed - fixed_bytes(config, CPU)

    small = variable_bytes(256)
    assert variable_bytes(512) == pytest.approx(4 * small, rel=0.05)
    assert variable_bytes(256, lanes=3) == pytest.approx(3 * small, rel=1e-6)
    assert variable_bytes(256, checkpointing=True) < small


def test_pooling_indices_take_8_bytes_in_every_precision() -> None:
    """Half precision halves all activations but the positions of the maxima, which are int64."""
    layers = frozenset({"relu1_1", "relu5_1"})
    whole, half = (
        sum(sum(sizes) for sizes in _activations("vgg16", layers, 64, 64, item)[0])
        for item in (4, 2)
    )
    # Four poolings, after 64, 128, 256 and 512 channels, each at half the size of the one before.
    indices = sum(8 * channels * (32 >> n) ** 2 for n, channels in enumerate((64, 128, 256, 512)))
    assert half == (whole - indices) // 2 + indices


@pytest.mark.parametrize("pool", [torch.float32, torch.bfloat16])
def test_pooling_stores_its_indices_as_64_bit_integers(pool: torch.dtype) -> None:
    """torch's indices of maxima are int64, whatever the precision: what the estimate counts."""
    image = torch.zeros(1, 2, 8, 8, dtype=pool)
    _, indices = torch.nn.functional.max_pool2d(image, 2, return_indices=True)
    assert indices.element_size() == 8


def test_recorded_lanes_count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """With CUDA graphs on, lanes of steps that are recorded need their memory twice."""
    config, side = StyleConfig(), 256
    eager = lane_need(config, side, side, device="cuda")
    assert eager.recorded_lanes == 0
    monkeypatch.setenv(CUDA_GRAPHS_VARIABLE, "1")
    assert lane_need(config, side, side, device=CPU).recorded_lanes == 0
    recorded = lane_need(config, side, side, device="cuda")
    most = MAX_PIXELS // side**2
    for lanes in (1, most):
        twice = eager.bytes_for(lanes) + lanes * eager.per_lane
        assert needed_bytes(config, side, side, device="cuda", lanes=lanes) == twice
    assert recorded.bytes_for(most + 5) == eager.bytes_for(most + 5) + most * eager.per_lane


@pytest.mark.parametrize("recorded_lanes", [0, 3, 100])
def test_the_number_of_lanes_is_the_largest_that_fits(recorded_lanes: int) -> None:
    """That many lanes fit, and one more does not; it is never less than one."""
    need = LaneNeed(fixed=50, per_lane=10, recorded_lanes=recorded_lanes)
    for free in range(70, 300):
        lanes = need.lanes_in(free)
        assert need.bytes_for(lanes) <= free < need.bytes_for(lanes + 1)
    assert need.lanes_in(0) == 1


def test_the_largest_need_is_that_of_every_lane() -> None:
    """The need of several lanes is the largest in every part."""
    wide, deep = LaneNeed(fixed=1, per_lane=20), LaneNeed(fixed=9, per_lane=2, recorded_lanes=4)
    assert LaneNeed.largest([wide, deep]) == LaneNeed(fixed=9, per_lane=20, recorded_lanes=4)


def test_engines_that_share_a_device_get_equal_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine may use its share of all memory, and never more than is free."""
    total = 100 * GIB
    monkeypatch.setattr(memory, "_container_limit", lambda: total)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=2 * total))
    monkeypatch.setattr(memory, "free_bytes", lambda _: int(total * USABLE_SHARE))
    assert lanes_bytes(CPU, LANES_SHARE) == pytest.approx(0.8 * 0.85 * total)
    assert lanes_bytes(CPU, LANES_SHARE / 4) == pytest.approx(0.2 * 0.85 * total)
    # Another engine is using its own part at this moment.
    monkeypatch.setattr(memory, "free_bytes", lambda _: int(0.6 * total * USABLE_SHARE))
    assert lanes_bytes(CPU, LANES_SHARE / 4) == pytest.approx(0.2 * 0.85 * total)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1000)
    assert lanes_bytes(CPU, LANES_SHARE / 4) == 800


def test_2048_pixels_fit_a_small_machine() -> None:
    """The estimate for VGG16 at 2048x1536 is less than 10 GiB."""
    config = StyleConfig(size_px=2048)
    once, twice = needed(config, 1536, 2048)
    assert once < 10 * GIB
    assert twice < 0.8 * once


def test_a_plan_adapts_to_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With little memory, activations are computed twice; with less, the error names a size."""
    config = StyleConfig()
    once, twice = needed(config, 768, 1024)
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: once + 1)
    assert not plan_memory(config, 768, 1024, CPU).checkpointing
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: (once + twice) // 2)
    plan = plan_memory(config, 768, 1024, CPU)
    assert plan.checkpointing and "computed twice" in plan.describe()
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: twice // 2)
    with pytest.raises(InputError, match="the largest that fits is size_px") as caught:
        plan_memory(config, 768, 1024, CPU)
    side = int(str(caught.value).split()[-1])
    assert needed(config, round(768 * side / 1024), side)[1] <= twice // 2
    assert 600 < side < 1000
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: 1)
    with pytest.raises(InputError, match="no size fits"):
        plan_memory(config, 768, 1024, CPU)
