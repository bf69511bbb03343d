"""Everything that runs on Ray.

On the driver, which is the process of the command:

- `connection` starts Ray on this machine or joins a cluster; its `ray_backend` is the entry point.
- `limits` checks what Ray needs from this machine.
- `backend` runs a search with Ray Tune; `tune_plugins` passes reports and decisions between them.
- `placement` assigns trials to engines, and decides which trial is to blame for dead engines.
- `engine_supervisor` starts and restarts engines; `engine_handle` is one of them, and
  `engine_shapes` says how many fit on a node; `engine_loss` says why one died.
- `submit` sends a whole launch to a cluster as a job, and follows its log.

On the nodes:

- `engine_actor` is the process that computes, one on each GPU or on CPU cores.
- `own_gpu` finds the GPU that Ray has assigned to it.
- `trainable` is the process of a trial, which only waits for its engine.
- `cpu_share` measures how long an engine waits for a processor core.

`ray_private` contains all private names of Ray.
"""
