"""The doctor: checks of a machine and of a run."""
