"""Presets: saved configurations, built-in ones and conversions."""
