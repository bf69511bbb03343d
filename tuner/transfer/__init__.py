"""Transfer: learning from earlier runs."""
