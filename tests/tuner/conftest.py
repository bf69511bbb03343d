"""Fixtures of tests that start commands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tuner.processes import Launches


@pytest.fixture
def launches() -> Iterator[Launches]:
    """Starts commands as processes, which end with the test."""
    with Launches() as started:
        yield started
