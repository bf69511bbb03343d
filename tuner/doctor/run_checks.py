"""Checks of a run directory, one line each: ``nst-tuner doctor DIR``. They change nothing."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from nst_core.errors import ImageError, InputError
from nst_core.files import read_limited
from tuner.doctor.check import Check, run_checks
from tuner.results.as_json import status_json
from tuner.results.results import Results, load_results
from tuner.study.run_dir import MAX_BYTES, RunDir
from tuner.study.run_files import STUDY_FILE


def check_run(folder: Path) -> list[Check]:
    """Return the results of all checks of a run directory.

    Raises:
        RunError: the folder does not exist, or it is not a run directory.
    """
    run = RunDir(folder).require()
    results = cache(lambda: load_results(folder))  # loading a large run takes seconds
    return run_checks(
        {
            "job": lambda: _job(run),
            "study": lambda: _study(run),
            "trials": lambda: _trials(results()),
            "pictures": lambda: _pictures(results()),
            "saved lanes": lambda: _lanes(results()),
            "launch": lambda: _launch(run),
            "folder": lambda: _folder(run),
        }
    )


def _job(run: RunDir) -> Check:
    from tuner.job.load import load_job

    job, space = load_job(run.job_file)
    found = f"{job.name}, {len(job.pairs)} pairs, space {space.name}"
    return Check(name="job", ok=True, found=found)


def _study(run: RunDir) -> Check:
    path = run.path / STUDY_FILE
    if not path.is_file():
        return Check(name="study", ok=True, found="in a database, shared by several launches")
    content = path.read_bytes()
    *lines, rest = content.split(b"\n")
    damaged = next((number for number, line in enumerate(lines, 1) if not _is_json(line)), None)
    if damaged:
        found = (
            f"{STUDY_FILE} is damaged: line {damaged} of {len(lines)} cannot be read. The lines"
            " before it are intact: copy the file, then delete this line and all lines after it"
        )
        return Check(name="study", ok=False, found=found)
    if rest:
        found = "the last line is incomplete because a launch was killed; `resume` removes it"
        return Check(name="study", ok=None, found=found)
    size = len(content) / 2**20
    return Check(name="study", ok=True, found=f"{len(lines)} records, {size:.1f} MiB")


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _trials(results: Results) -> Check:
    status = status_json(results)
    states = ", ".join(f"{count} {state}" for state, count in status["states"].items() if count)
    if status["states"].get("running") and not results.run.is_held:
        found = (
            f"{states}; no launch is working on the running trials. To continue:"
            f" `nst-tuner resume {results.run.path}`"
        )
        return Check(name="trials", ok=None, found=found)
    return Check(name="trials", ok=True, found=states or "none yet")


def _pictures(results: Results) -> Check:
    folder = results.run.path
    reported = (record for record in results.records if record.rungs)
    paths = {name: folder / name for r in reported for name in results.images(r.trial)}
    missing = [name for name, path in paths.items() if not path.is_file()]
    damaged = [name for name, path in paths.items() if path.is_file() and not _is_picture(path)]
    if missing or damaged:
        examples = ", ".join([*missing, *damaged][:3])
        found = (
            f"{len(missing)} missing, {len(damaged)} damaged of {len(paths)}: {examples}. To make"
            " them again, `export` the trial and `stylize` with its preset"
        )
        return Check(name="pictures", ok=False, found=found)
    return Check(name="pictures", ok=True, found=f"{len(paths)} intact")


def _is_picture(path: Path) -> bool:
    from nst_core.images.decode import open_picture

    try:
        with open_picture(path) as picture:
            picture.verify()
    except ImageError:
        return False
    return True


def _lanes(results: Results) -> Check:
    from nst_core.lanes.checkpoints import load_lanes

    count, damaged = 0, []
    for record in results.records:
        path = results.run.lanes_file(record.trial)
        if path.is_file():
            count += 1
            try:
                load_lanes(read_limited(path, MAX_BYTES))
            except (InputError, OSError):
                damaged.append(record.trial)
    if damaged:
        found = (
            f"{len(damaged)} of {count} damaged: trials {', '.join(map(str, damaged[:5]))};"
            " `resume` runs these trials again from their first step"
        )
        return Check(name="saved lanes", ok=None, found=found)
    return Check(name="saved lanes", ok=True, found=f"{count} intact")


def _launch(run: RunDir) -> Check:
    user = run.user
    found = f"{user} is working on this run" if user else "no process is working on this run"
    return Check(name="launch", ok=True, found=found)


def _folder(run: RunDir) -> Check:
    files = [path for path in run.path.rglob(".*.tmp") if path.is_file()]
    if files:
        size = sum(path.stat().st_size for path in files) / 2**20
        found = (
            f"{len(files)} half-written files ({size:.1f} MiB) of killed launches; you may delete"
            " them: .*.tmp"
        )
        return Check(name="folder", ok=None, found=found)
    return Check(name="folder", ok=True, found="no half-written files")
