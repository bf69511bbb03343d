"""Stylizers: what turns content, style and parameters into a picture, if it is not our engine.

Anybody's stylizer:

- `protocol` is what a stylizer in Python implements; `own` is our engine as one.
- `command` runs a program as a stylizer.
- `loading` finds the stylizer that a job names.
- `trust` asks before code is run that a job or a preset names.

Its processes. An engine starts a guard, and the guard a worker:

- `worker` is the process that holds a stylizer; it keeps it between trials.
- `guard` ends everything that a worker started, and removes its files, whoever dies first.
- `confinement` restricts where a worker may write, and what it sees of the environment.
- `messages` are what engine and worker say to each other: JSON and bytes, no pickles.
- `process` is a worker as its engine sees it.

`engine` runs trials with a worker; `engines` chooses between it and the engine of lanes.

The modules of the worker and the guard load no torch.
"""
