"""Runs: launch, resume, prepare, mirror and notify trackers."""
