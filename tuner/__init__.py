"""Launching, inspecting and exporting tuning runs of neural style transfer."""

__version__ = "0.1.0"
