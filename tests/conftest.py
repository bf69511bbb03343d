"""Shared fixtures: real weights, small pictures, a real job."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

os.environ["COLUMNS"] = "200"  # rich cuts tables at the width of the terminal
# Ray reads these when it is first imported, which any test may do.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

import pytest
import skimage.data
import torch
import yaml
from hypothesis import HealthCheck, settings
from PIL import Image

from benchmarks.support.common import random_weights as random_weights_of
from nst_core.networks.weights import Weights, get_weights
from tests.tuner.disks import SmallDisk

if "PYTEST_XDIST_WORKER" in os.environ:  # several at a time share the cores
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))

# A slow machine must not fail a test.
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")


@pytest.fixture(scope="session")
def weights() -> Mapping[str, Weights]:
    """Real pretrained weights by name; they are fetched into the cache if necessary."""
    names = ("vgg16", "alexnet", "lpips-alex", "stlpips-alex", "dists")
    return {name: get_weights(name) for name in names}


@pytest.fixture(scope="session")
def random_weights() -> Callable[[str], Weights]:
    """Function that returns random weights of a network; it needs no download."""
    return random_weights_of


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with content.png (96x64), style.png (64x64) and reference.png (48x32)."""
    folder = tmp_path_factory.mktemp("pictures")
    cat = Image.fromarray(skimage.data.chelsea())
    cat.resize((96, 64)).save(folder / "content.png")
    Image.fromarray(skimage.data.astronaut()).resize((64, 64)).save(folder / "style.png")
    cup = Image.fromarray(skimage.data.coffee()).resize((96, 64))
    Image.blend(cat.resize((96, 64)), cup, 0.5).resize((48, 32)).save(folder / "reference.png")
    return folder


@pytest.fixture
def job_file(tmp_path: Path, pictures: Path) -> Path:
    """A job that runs in seconds: one pair at 64 px, 8 trials of at most 6 steps, no finals."""
    job = {
        "name": "small",
        "pairs": [
            {
                "content": str(pictures / "content.png"),
                "style": str(pictures / "style.png"),
                "reference": str(pictures / "reference.png"),
            }
        ],
        "size_px": 64,
        "search": {"trials": 8, "seed": 3},
        "halving": {"min_steps": 2, "max_steps": 6, "reduction": 3},
        "finals": {"count": 0},
        "present": {"size_px": 0},
    }
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job, sort_keys=False))
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of one megabyte in memory; the test is skipped if it cannot be mounted."""
    disk = SmallDisk(tmp_path / "disk")
    if not disk.mounted:
        pytest.skip("this user may not mount a file system")
    yield disk
    disk.unmount()
