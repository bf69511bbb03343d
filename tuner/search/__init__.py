"""The search: every decision of a run, from the first trial to the finals."""
