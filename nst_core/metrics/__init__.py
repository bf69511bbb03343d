"""Metrics: scores that compare an image with a reference.

* `registry`: names, directions and meanings of all metrics.
* `suite`: computes several metrics of several images, on the device of the engine.
* `measure`: how every metric compares images; `identity_cache` caches features of references.
* `pixel_metrics`, `color_distance`: metrics without a network.
* `lpips_dists`, `shift_tolerant_lpips`: metrics that use a network.
* `baselines`: images that every result must beat.
"""
