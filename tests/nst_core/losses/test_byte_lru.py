"""What was made last: bounded where it is asked to be."""

from __future__ import annotations

import pytest
import torch

from nst_core.losses.byte_lru import ByteLRU


def of_bytes(count: int) -> torch.Tensor:
    """A tensor of so many bytes."""
    return torch.zeros(count, dtype=torch.uint8)


def test_the_longest_unused_goes_first() -> None:
    """Beyond the bound what nobody asked for longest is let go of, then the next."""
    recent = ByteLRU(100)
    for name in "abc":
        recent.update({(name,): of_bytes(30)})
    recent["a",]
    recent.update({("d",): (of_bytes(20), [of_bytes(20)])})
    assert len(recent) == 4  # while others may be asked for next
    recent.trim()
    assert [(name,) in recent for name in "abcd"] == [True, False, True, True]
    assert recent.bytes == 100


def test_what_is_used_in_turn_is_not_all_made_again() -> None:
    """Of values in use that are a little too much, only as many are let go of as are too much."""
    recent, made = ByteLRU(100), 0
    for _ in range(5):
        for name in "abcd":
            if (name,) not in recent:
                recent.update({(name,): of_bytes(30)})
                made += 1
            recent[name,]
        recent.trim()
    assert made == 4 + 4


def test_values_are_replaced_and_dropped() -> None:
    """A value made again counts once; dropped ones are gone."""
    recent = ByteLRU(100)
    for _ in range(3):
        recent.update({("a",): of_bytes(60)})
    assert recent.bytes == 60
    recent.drop(lambda key: "a" in key)
    assert not len(recent)
    with pytest.raises(KeyError):
        recent["a",]
