"""Lanes: stylizations that advance together in batches on one device.

* `scheduler`: which lanes share a batch, and which batch advances next.
* `batch`, `assembly`: a batch of lanes, and its tensors while it takes steps.
* `lane_state`, `checkpoints`: the state of a lane, and its form as bytes.
* `optimizers`: Adam, AdamW, LAMB, SGD, L-BFGS and their state.
* `schedules`, `initialization`: learning rate, style weight and image size; the first image.
* `step_graph`: steps as CUDA graphs.
* `memory`, `device`: estimates of memory; names and errors of devices.
"""
