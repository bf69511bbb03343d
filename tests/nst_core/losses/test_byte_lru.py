"""ByteLRU: limited size, order of removal, replacement."""

from __future__ import annotations

import pytest
import torch

from nst_core.losses.byte_lru import ByteLRU


def of_bytes(count: int) -> torch.Tensor:
    """Return a tensor of ``count`` bytes."""
    return torch.zeros(count, dtype=torch.uint8)


def test_the_least_recently_used_value_is_dropped_first() -> None:
    """`trim` drops the least recently used values until the others fit."""
    cache = ByteLRU(100)
    for name in "abc":
        cache.update({(name,): of_bytes(30)})
    cache["a",]
    cache.update({("d",): (of_bytes(20), [of_bytes(20)])})
    assert len(cache) == 4  # nothing is dropped before `trim`
    cache.trim()
    assert [(name,) in cache for name in "abcd"] == [True, False, True, True]
    assert cache.bytes == 100


def test_values_used_in_turn_are_not_all_computed_again() -> None:
    """If the values in use slightly exceed the limit, each round drops only one of them."""
    cache, computed = ByteLRU(100), 0
    for _ in range(5):
        for name in "abcd":
            if (name,) not in cache:
                cache.update({(name,): of_bytes(30)})
                computed += 1
            cache[name,]
        cache.trim()
    assert computed == 4 + 4


def test_values_are_replaced_and_dropped() -> None:
    """A replaced value counts once, and a dropped value is no longer in the cache."""
    cache = ByteLRU(100)
    for _ in range(3):
        cache.update({("a",): of_bytes(60)})
    assert cache.bytes == 60
    cache.drop(lambda key: "a" in key)
    assert not len(cache)
    with pytest.raises(KeyError):
        cache["a",]
