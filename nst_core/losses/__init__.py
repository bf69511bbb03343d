"""Losses: formulas, targets and their batched evaluation."""
