"""Metrics: how close a picture is to its reference."""
