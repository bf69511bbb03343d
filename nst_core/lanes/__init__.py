"""Lanes: stylizations that advance together in batches on one device.

* `scheduler`: which lanes share a batch, and which batch advances next.
* `batch`: a batch of lanes.
* `step`: one step of all lanes; `assembly`, `bucket`: lanes that take steps, on CPUs and on GPUs.
* `lane_state`, `checkpoints`: the state of a lane, and its form as bytes.
* `optimizers`: Adam, AdamW, LAMB, SGD, L-BFGS and their state.
* `schedules`, `initialization`: learning rate, style weight and image size; the first image.
* `step_graph`: steps as CUDA graphs.
* `memory`, `device`: estimates of memory; names and errors of devices.
"""
