"""Measurements that anyone can rerun: ``python -m benchmarks.NAME [--quick] [--json]``."""
