"""Feed-forward networks that stylize in one pass."""
