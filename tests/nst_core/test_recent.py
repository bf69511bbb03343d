"""What was made last: bounded, and nobody sees that it was let go of."""

from __future__ import annotations

import pytest
import torch

from nst_core.recent import Recent


def of_bytes(count: int) -> torch.Tensor:
    """A tensor of so many bytes."""
    return torch.zeros(count, dtype=torch.uint8)


def test_the_longest_unused_goes_first() -> None:
    """Beyond the bound what nobody asked for longest is let go of, then the next."""
    recent = Recent(100)
    for name in "abc":
        recent.add({(name,): of_bytes(30)})
    recent["a",]
    recent.add({("d",): (of_bytes(20), [of_bytes(20)])})
    assert [(name,) in recent for name in "abcd"] == [True, False, True, True]
    assert recent.bytes == 100


def test_what_is_made_together_stays_together() -> None:
    """The last values stay, even where they alone are more than the bound."""
    recent = Recent(100)
    recent.add({("a",): of_bytes(30)})
    recent.add({("b", n): of_bytes(80) for n in range(3)})
    assert ("a",) not in recent and len(recent) == 3
    recent.add({("c",): of_bytes(1)})
    assert ("c",) in recent and recent.bytes <= 100


def test_values_are_replaced_and_dropped() -> None:
    """A value made again counts once; dropped ones are gone."""
    recent = Recent(100)
    for _ in range(3):
        recent.add({("a",): of_bytes(60)})
    assert recent.bytes == 60
    recent.drop(lambda key: "a" in key)
    assert not len(recent)
    with pytest.raises(KeyError):
        recent["a",]


def test_sparse_matrices_count() -> None:
    """Of a sparse matrix values and indices are counted, not the zeros between."""
    recent = Recent(10**9)
    recent.add({("a",): torch.eye(1000).to_sparse().coalesce()})
    assert recent.bytes == 1000 * (4 + 2 * 8)
