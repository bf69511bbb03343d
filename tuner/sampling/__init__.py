"""Sampling: which configuration is tried next."""
