"""Lanes: many stylizations that advance together in one batch."""
