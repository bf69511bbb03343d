"""doctor DIR: what is wrong with a run directory, and what to do about it. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from nst_core.errors import ImageError, InputError
from nst_core.files import read_limited
from tuner.doctor.machine import Check, checked
from tuner.results.as_json import status_json
from tuner.results.results import Results, load_results
from tuner.study.run_dir import MAX_BYTES, RunDir
from tuner.study.run_files import STUDY_FILE


def check_run(folder: Path) -> list[Check]:
    """Every check of a run; one that breaks is a finding, not an end.

    Raises:
        RunError: there is no such folder, or it is no run.
    """
    run = RunDir(folder).require()
    results = cache(lambda: load_results(folder))
    checks: dict[str, Callable[[], Check]] = {
        "job": lambda: _job(run),
        "study": lambda: _study(run),
        "trials": lambda: _trials(results()),
        "pictures": lambda: _pictures(results()),
        "saved lanes": lambda: _lanes(results()),
        "launch": lambda: _launch(run),
        "folder": lambda: _folder(run),
    }
    return checked(checks)


def _job(run: RunDir) -> Check:
    from tuner.job.load import load_job

    job, space = load_job(run.job_file)
    found = f"{job.name}, {len(job.pairs)} pairs, space {space.name}"
    return Check(name="job", ok=True, found=found)


def _study(run: RunDir) -> Check:
    path = run.path / STUDY_FILE
    if not path.is_file():
        return Check(name="study", ok=True, found="shared, in a database")
    content = path.read_bytes()
    *lines, rest = content.split(b"\n")
    bad = [number for number, line in enumerate(lines, 1) if not _is_json(line)]
    if bad:
        found = (
            f"{STUDY_FILE} cannot be read from line {bad[0]} of {len(lines)} on; what stands before"
            " is whole: keep a copy and cut the file there"
        )
        return Check(name="study", ok=False, found=found)
    if rest:
        found = "a killed launch left half a line at its end; `resume` drops it"
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
    unfinished = status["states"].get("running", 0)
    if unfinished and not results.run.is_held:
        found = f"{states}; nobody works on those that run: `nst-tuner resume {results.run.path}`"
        return Check(name="trials", ok=None, found=found)
    return Check(name="trials", ok=True, found=states or "none yet")


def _pictures(results: Results) -> Check:
    missing, broken, seen = [], [], 0
    for record in results.records:
        if record.rungs:
            for name in results.images(record.trial):
                seen += 1
                path = results.run.path / name
                if not path.is_file():
                    missing.append(name)
                elif not _is_picture(path):
                    broken.append(name)
    if missing or broken:
        listed = ", ".join([*missing, *broken][:3])
        found = f"{len(missing)} missing, {len(broken)} damaged of {seen}: {listed}; `export` the"
        found += " trial and `stylize` to make them again"
        return Check(name="pictures", ok=False, found=found)
    return Check(name="pictures", ok=True, found=f"{seen} whole")


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

    kept, broken = 0, []
    for record in results.records:
        path = results.run.lanes_file(record.trial)
        if path.is_file():
            kept += 1
            try:
                load_lanes(read_limited(path, MAX_BYTES))
            except (InputError, OSError):
                broken.append(record.trial)
    if broken:
        found = f"damaged of trials {', '.join(map(str, broken[:5]))}; they will begin again"
        return Check(name="saved lanes", ok=None, found=found)
    return Check(name="saved lanes", ok=True, found=f"{kept} whole")


def _launch(run: RunDir) -> Check:
    user = run.user
    found = f"{user} works on it" if user else "nobody works on it"
    return Check(name="launch", ok=True, found=found)


def _folder(run: RunDir) -> Check:
    left = list(_half_written(run.path))
    if left:
        size = sum(path.stat().st_size for path in left) / 2**20
        found = f"{len(left)} half-written files ({size:.1f} MiB) of killed launches may be deleted"
        return Check(name="folder", ok=None, found=f"{found}: .*.tmp")
    return Check(name="folder", ok=True, found="nothing half-written")


def _half_written(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob(".*.tmp") if path.is_file())
