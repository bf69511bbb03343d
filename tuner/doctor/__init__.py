"""Checks of this machine and of a run directory."""
