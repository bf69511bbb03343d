"""Metrics: scores that compare an image with a reference.

* `registry`: names, directions and meanings of all metrics.
* `suite`: computes several metrics; formulas of metrics without a network.
* `lpips_dists`: metrics that use a network; features of references are cached by `identity_cache`.
* `baselines`: images that every result must beat.
"""
