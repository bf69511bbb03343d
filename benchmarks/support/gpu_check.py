"""Is this machine set up, and how fast is it? ``scripts/gpu-check`` runs this module.

Three parts run one after the other, each in a process of its own, so that a device that one of them
breaks does not stop the next: the checks of ``nst-tuner doctor``, the tests in tests/gpu, and the
benchmark `engine`. All of them together take at most ten minutes. Ray is not needed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.support.common import Row, err, markdown_table, run
from nst_core.errors import InputError
from nst_core.files import write_atomic

ROOT = Path(__file__).parents[2]

#: Longest duration of each part in seconds; together less than ten minutes.
LIMITS_S = {"doctor": 60, "tests": 190, "benchmark": 340}

#: Prints the name of the device and the checks of this machine as JSON.
_DOCTOR = """
import json, sys
from nst_core.lanes.device import device_name
from tuner.doctor.machine_checks import check_machine
checks = [vars(check) for check in check_machine(None)]
usable = sys.argv[1] == "cpu" or any(c["name"] == "gpu" and c["ok"] for c in checks)
print(json.dumps({"name": device_name(sys.argv[1]) if usable else None, "checks": checks}))
"""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Result of one part.

    Attributes:
        name: a key of `LIMITS_S`.
        passed: whether all of it worked.
        seconds: how long it took.
        found: what it found, in one line.
        details: further lines, such as the tests that failed.
        results: what it measured.
    """

    name: str
    passed: bool
    seconds: float
    found: str
    details: Sequence[str] = ()
    results: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> Row:
        """Return the part as a row of the summary."""
        result = "pass" if self.passed else "FAIL"
        return {"part": self.name, "result": result, "s": self.seconds, "found": self.found}


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a command printed: ``code`` is None if it did not end in time."""

    code: int | None
    text: str
    seconds: float


def main(
    device: Annotated[str, typer.Option(help="cuda, cuda:N, or cpu to try this")] = "cuda",
    quick: Annotated[
        bool, typer.Option("--quick", help="tiny sizes: does everything run?")
    ] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder of the result files")] = ROOT
    / "benchmarks"
    / "results",
) -> None:
    """Check the GPU of this machine, and measure its speed."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise InputError(f"--device: expected cuda, cuda:N or cpu, got {device!r}")
    parts = [doctor(device)]
    say(parts[0])
    if parts[0].passed:
        for check in (tests, benchmark):
            part = check(device, quick)
            say(part)
            parts.append(part)
    name = parts[0].results.get("name") or "no usable GPU"
    files = write(name, parts, out) if parts[0].passed else []
    typer.echo(summary(name, parts))
    for file in files:
        err.print(f"written: {file}", markup=False, highlight=False)
    sys.exit(0 if all(part.passed for part in parts) else 1)


def say(part: Part) -> None:
    """Print the result of a part as soon as it is known."""
    row = part.row()
    line = f"{row['result']} {part.name} ({part.seconds:.0f} s): {part.found}"
    err.print("\n  ".join([line, *part.details]), markup=False, highlight=False)


def doctor(device: str) -> Part:
    """Check the machine: drivers, and a small computation in every precision on every device."""
    output = _output([sys.executable, "-c", _DOCTOR, device], LIMITS_S["doctor"])
    try:
        found = json.loads(output.text.splitlines()[-1])
    except (ValueError, IndexError):
        return _unfinished("doctor", output)
    checks = found["checks"]
    for check in checks:
        if check["name"] == "ray" and find_spec("ray") is None:
            check.update(ok=None, found="not installed; this check does not need it")
    bad = [c for c in checks if c["ok"] is False]
    gpu = next(c for c in checks if c["name"] == "gpu")
    if device != "cpu" and not gpu["ok"] and gpu not in bad:
        bad.append(gpu)
    return Part(
        name="doctor",
        passed=not bad,
        seconds=output.seconds,
        found=f"{len(bad)} of {len(checks)} checks failed" if bad else gpu["found"],
        details=[f"{c['name']}: {c['found']}" for c in bad],
        results=found,
    )


def tests(device: str, quick: bool) -> Part:
    """Run the tests in tests/gpu on a device."""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--tb=short", "-rfE"),
        *("-p", "no:cacheprovider", "--confcutdir=tests/gpu", "tests/gpu"),
    ]
    output = _output(command, LIMITS_S["tests"], NST_TEST_DEVICE=device)
    lines = output.text.strip().splitlines()
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", lines[-1] if lines else "")
    if output.code is None or not counts:
        return _unfinished("tests", output)
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return Part(
        name="tests",
        passed=output.code == 0,
        seconds=output.seconds,
        found=", ".join(counts),
        details=failed,
    )


def benchmark(device: str, quick: bool) -> Part:
    """Run the benchmark `engine`; goals that are not met do not fail it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "engine.json"
        command = [sys.executable, "-m", "benchmarks.engine", "--device", device]
        command += ["--json", str(file), *(["--quick"] if quick else [])]
        output = _output(command, LIMITS_S["benchmark"])
        if output.code is None or not file.is_file():
            return _unfinished("benchmark", output)
        results = json.loads(file.read_text(encoding="utf-8"))
    failed = [f"{row['part']}: {row['failed with']}" for row in results["rows"] if "part" in row]
    met = sum(goal["met"] for goal in results["goals"])
    return Part(
        name="benchmark",
        passed=output.code == 0,
        seconds=output.seconds,
        found=f"{met} of {len(results['goals'])} goals met",
        details=failed,
        results={**results, "text": output.text},
    )


def summary(name: str, parts: Sequence[Part]) -> str:
    """Return what a user reads at the end: each part, and each goal."""
    passed = all(part.passed for part in parts)
    verdict = "everything works" if passed else "something does not work; see above"
    lines = [f"{name}: {verdict}", "", markdown_table([part.row() for part in parts])]
    goals = parts[-1].results.get("goals")
    if goals:
        lines += ["", markdown_table(goals)]
    return "\n".join(lines)


def write(name: str, parts: Sequence[Part], folder: Path) -> list[Path]:
    """Write the results as Markdown and as JSON; return the files, which the device names."""
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    details = [f"- {part.name}: {line}" for part in parts for line in part.details]
    text = [f"# {name}", "", "Written by `scripts/gpu-check`.", ""]
    text += [markdown_table([part.row() for part in parts]), "", *details]
    if "text" in parts[-1].results:
        text += ["", re.sub(r"^#", "##", parts[-1].results["text"], flags=re.MULTILINE)]
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "device": name,
        "parts": [{**part.row(), "details": list(part.details)} for part in parts],
        **{key: parts[-1].results.get(key, []) for key in ("machine", "rows", "goals")},
    }
    files = {
        folder / f"{stem}.md": "\n".join(text).strip() + "\n",
        folder / f"{stem}.json": json.dumps(content, indent=1) + "\n",
    }
    for file, written in files.items():
        write_atomic(file, written.encode())
    return list(files)


def _output(command: Sequence[str], limit_s: float, **variables: str) -> Output:
    """Run a command in the folder of the project; its errors go to the terminal."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **variables},
        start_new_session=True,
    )
    code: int | None = None
    try:
        text, _ = process.communicate(timeout=limit_s)
        code = process.returncode
    except subprocess.TimeoutExpired:
        text = _ended(process)
    except BaseException:  # Ctrl-C
        _ended(process)
        raise
    return Output(code=code, text=text, seconds=time.perf_counter() - started)


def _ended(process: subprocess.Popen[str]) -> str:
    """End a process with all that it started; return what it printed."""
    os.killpg(process.pid, 9)
    text, _ = process.communicate()
    return text


def _unfinished(name: str, output: Output) -> Part:
    """Return the result of a part whose command gave no result."""
    if output.code is None:
        found = f"did not end within {LIMITS_S[name]} s"
    else:
        found = f"ended with exit code {output.code} and without a result"
    last = output.text.strip().splitlines()[-5:]
    return Part(name=name, passed=False, seconds=output.seconds, found=found, details=last)


if __name__ == "__main__":
    run(main)
