"""The stylization engine: configurations, extractors, losses, lanes, metrics."""
