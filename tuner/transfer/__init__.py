"""Learning from earlier runs: warm start."""
