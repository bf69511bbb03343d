"""What is searched: declared spaces and a catalogue of named ones."""

from search_spaces.catalogue import CATALOGUE
from search_spaces.space import Choice, Float, Params, Space, space_from_dict

__all__ = ["CATALOGUE", "Choice", "Float", "Params", "Space", "space_from_dict"]
