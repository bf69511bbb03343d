"""The study: the record of a run on disk."""
