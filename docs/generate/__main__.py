"""``python -m docs.generate``: write every generated page of the documentation."""

from docs.generate import write_all

write_all()
