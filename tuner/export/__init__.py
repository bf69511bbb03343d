"""Exporting a tuned preset: as a file, a Python script, or a command of neural-style-pt."""
