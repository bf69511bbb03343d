"""Estimates of memory against measured peaks, and plans."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.memory import measure
from nst_core.config import StyleConfig
from nst_core.errors import InputError
from nst_core.lanes.memory import GIB, _container_bytes, fixed_bytes, needed_bytes, plan_memory
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
