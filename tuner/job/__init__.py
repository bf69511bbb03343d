"""The job: what a job file may say, its objectives and how results are ranked."""
