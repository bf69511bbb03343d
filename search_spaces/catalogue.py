"""Catalogue of the named search spaces."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.comparison_spaces import BLEND, FAST, LAYERS, NETWORKS, OPTIMIZERS, PHOTOREAL
from search_spaces.gram_spaces import GRAM, GRAM_WIDE, WIDE
from search_spaces.published_spaces import REPORTS
from search_spaces.space import Space
from search_spaces.standard_space import STANDARD

CATALOGUE: Mapping[str, Space] = {
    space.name: space
    for space in (
        *(STANDARD, GRAM, GRAM_WIDE, WIDE),
        *(LAYERS, NETWORKS, OPTIMIZERS, FAST, BLEND, PHOTOREAL),
        *REPORTS,
    )
}
