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
    """Bytes as usual, and with activations computed twice."""
    plain, again = (
        needed_bytes(config, height, width, device=CPU, checkpointing=c) for c in (False, True)
    )
    return plain, again


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("extractor", ["vgg16", "mobilenet_v2"])
def test_estimates_are_near_what_is_used(extractor: str, checkpointing: bool) -> None:
    """A run takes no more than the estimate, and not much less."""
    assert 0.9 < measure(extractor, 512, checkpointing=checkpointing).ratio < 1.6


@pytest.mark.parametrize("masks", [1, 4])
def test_regions_take_memory_of_their_own(masks: int) -> None:
    """What each mask leaves of the features is in the estimate."""
    assert 0.9 < measure("vgg16", 256, masks=masks).ratio < 1.6


def test_files_in_memory_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the cache of files that were read is given up for whoever asks."""
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
    """Twice the side is four times the memory; lanes add up; recomputing saves."""
    config = StyleConfig(extractor=extractor)

    def growing(side: int, **options: Any) -> int:
        needed = needed_bytes(config, side, side, device=CPU, **options)
        return needed - fixed_bytes(config, CPU)

    small = growing(256)
    assert growing(512) == pytest.approx(4 * small, rel=0.05)
    assert growing(256, lanes=3) == pytest.approx(3 * small, rel=1e-6)
    assert growing(256, checkpointing=True) < small


def test_2048_pixels_fit_a_small_machine() -> None:
    """VGG16 at 2048x1536 is planned with less than 10 GiB, and less when computed twice."""
    config = StyleConfig(size_px=2048)
    plain, again = needed(config, 1536, 2048)
    assert plain < 10 * GIB
    assert again < 0.8 * plain


def test_what_does_not_fit_is_refused_with_what_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short of memory activations are computed twice; beyond that the largest size is named."""
    config = StyleConfig()
    plain, again = needed(config, 768, 1024)
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: plain + 1)
    assert not plan_memory(config, 768, 1024, CPU).checkpointing
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: (plain + again) // 2)
    plan = plan_memory(config, 768, 1024, CPU)
    assert plan.checkpointing and "computed twice" in plan.describe()
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: again // 2)
    with pytest.raises(InputError, match="the largest that fits is size_px") as caught:
        plan_memory(config, 768, 1024, CPU)
    side = int(str(caught.value).split()[-1])
    assert needed(config, round(768 * side / 1024), side)[1] <= again // 2
    assert 600 < side < 1000
    monkeypatch.setattr("nst_core.lanes.memory.free_bytes", lambda _: 1)
    with pytest.raises(InputError, match="no size fits"):
        plan_memory(config, 768, 1024, CPU)
