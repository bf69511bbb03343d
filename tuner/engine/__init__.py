"""The engine: trials of one worker as batches of lanes."""
