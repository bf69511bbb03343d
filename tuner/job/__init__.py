"""The job: contents of a job file, objectives and constraints, and the ranking of results."""
