"""Benchmarks: measurements that anyone can repeat with ``python -m benchmarks.NAME``.

Every benchmark prints a Markdown document with tables. ``--quick`` makes a short run that only
shows that the benchmark works; ``--json FILE`` also writes the rows. Committed results are in
``benchmarks/results``.

================ =================================================================================
one step         `step` (time per image, against other implementations), `roofline` (arithmetic
                 rate and profile), `winograd` (convolutions on CPUs), `losses` (formulas of loss
                 terms), `compiled` (recorded or compiled steps), `memory` (estimated and measured
                 peak memory), `determinism` (variation between runs of one configuration)
scores           `scoring` (time of each metric, against scikit-image and OpenCV)
an image         `presets` (every built-in preset), `optimizers` (against a published comparison),
                 `resolution` (presets at larger sizes), `distill` (real-time networks)
a search         `search` (samplers and rules on recorded curves), `live` (the same on real
                 images), `record` (records curves), `tune` (against a grid search)
a device         `engine` (steps, other ways to share a device, whole engines, without Ray)
a run            `packing` (trials per hour), `busy` (use of engines), `control` (cost of
                 decisions), `soak` (many trials with errors), `report` (a large report page)
================ =================================================================================
"""
