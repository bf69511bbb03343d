"""Fixtures of tests that break things: processes, and a disk of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tuner.disks import SmallDisk
from tests.tuner.processes import Launches


@pytest.fixture
def launches() -> Iterator[Launches]:
    """Processes started by a test; none outlives it."""
    with Launches() as started:
        yield started


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of one megabyte in memory; only root may mount one."""
    disk = SmallDisk(tmp_path / "disk")
    if not disk.mounted:
        pytest.skip("may not mount a file system here")
    yield disk
    disk.unmount()
