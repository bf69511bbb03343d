"""Sampling: proposes the configuration of the next trial."""
