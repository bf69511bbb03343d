"""The engine: runs the trials of one GPU or CPU core as batches of lanes.

* `engine`, `trial_state`: the engine and the state of a trial on it.
* `scoring`: scores images in the background.
* `pairs`, `workload`: images of a job, and the data that every engine of a run needs.
* `costs`: costs of a configuration that are known in advance.
"""
