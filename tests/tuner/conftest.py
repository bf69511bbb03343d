"""Fixtures of tests that cause faults: processes, and a small disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tuner.disks import SmallDisk
from tests.tuner.processes import Launches


@pytest.fixture
def launches() -> Iterator[Launches]:
    """Starts commands as processes, which end with the test."""
    with Launches() as started:
        yield started


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of one megabyte in memory; the test is skipped if it cannot be mounted."""
    disk = SmallDisk(tmp_path / "disk")
    if not disk.mounted:
        pytest.skip("this user may not mount a file system")
    yield disk
    disk.unmount()
