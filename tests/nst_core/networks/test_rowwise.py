"""Rowwise: trees of objects as lists of tensors."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nst_core.networks.rowwise import Rowwise, map_rows, tensors_of


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


@dataclass(frozen=True)
class Leaf(Rowwise):
    name: str
    rows: Tensor


class Tree(Rowwise):
    def __init__(self) -> None:
        self.leaf = Leaf("a", torch.tensor([1.0]))
        self.states = [{"x": torch.tensor([2.0])}, {}]
        self.pair = Pair(torch.tensor([3.0]), torch.tensor([4.0]))
        self.none: Tensor | None = None
        self.network = torch.nn.Linear(1, 1)


def test_all_tensors_are_found_in_order() -> None:
    """Tensors of attributes, mappings, sequences and named tuples come in a fixed order."""
    assert [float(tensor) for tensor in tensors_of(Tree())] == [1, 2, 3, 4]


def test_a_mapped_tree_has_the_same_structure() -> None:
    """A mapped tree differs in its tensors only, and the original does not change."""
    tree = Tree()
    other = map_rows(lambda rows: rows * 10, tree)
    assert [float(tensor) for tensor in tensors_of(other)] == [10, 20, 30, 40]
    assert [float(tensor) for tensor in tensors_of(tree)] == [1, 2, 3, 4]
    assert other.leaf.name == "a" and other.none is None
    assert type(other.pair) is Pair


def test_what_is_not_rowwise_is_shared() -> None:
    """Objects that are not rows, such as networks, are neither searched nor copied."""
    tree = Tree()
    assert map_rows(torch.clone, tree).network is tree.network
