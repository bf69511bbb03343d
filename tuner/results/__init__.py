"""Results: trials, the best of them, tables, JSON and contact sheets."""
