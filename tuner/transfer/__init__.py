"""Learning from earlier runs and from recorded pairs: suggestions, warm start."""
