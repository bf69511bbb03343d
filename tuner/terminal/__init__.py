"""The terminal: tables, progress and the console."""
