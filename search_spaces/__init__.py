"""Search spaces: declarations of parameters, and a catalogue of named spaces."""

from search_spaces.catalogue import CATALOGUE
from search_spaces.parameters import Choice, Float, Int, Parameter, Params
from search_spaces.space import Space
from search_spaces.space_file import space_from_dict, space_to_dict
from search_spaces.stylizer_space import StylizerSpace, stylizer_space_from_dict

__all__ = [
    "CATALOGUE",
    "Choice",
    "Float",
    "Int",
    "Parameter",
    "Params",
    "Space",
    "StylizerSpace",
    "space_from_dict",
    "space_to_dict",
    "stylizer_space_from_dict",
]
