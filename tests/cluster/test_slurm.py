"""The batch script for Slurm, with substitutes for Slurm, Ray and nst-tuner."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Scripts in place of the programs; they append their arguments to the file ``$said``.
SUBSTITUTES = {
    "scontrol": "echo here",
    "srun": """
        while [[ "$1" == -* ]]; do [[ "$1" == -w ]] && shift; shift; done
        [[ "$1" == hostname ]] && { echo 127.0.0.1; exit 0; }
        exec "$@"
    """,
    "nst-tuner": 'echo "nst-tuner $*" >> "$said"',
    "sleep": "exit 0",
}
LISTENS = """
    echo "$* on $SRUN_CPUS_PER_TASK" >> "$said"
    [[ "$*" =~ --port=([0-9]+) ]]
    exec python3 -c "
import socket, time
listener = socket.create_server(('127.0.0.1', ${BASH_REMATCH[1]}))
time.sleep(60)"
"""


class Slurm:
    """A home folder and programs for the batch script."""

    def __init__(self, folder: Path):
        self.home, self.said, self.results = folder / "home", folder / "said", folder / "run"
        for made in (self.home / "nst-venv" / "bin", folder / "bin", self.results):
            made.mkdir(parents=True)
        (self.home / "nst-venv" / "bin" / "activate").touch()
        self.programs = folder / "bin"

    def run(self, ray: str) -> tuple[int, str]:
        """Run the batch script, with ``ray`` as the program of that name: (exit code, output)."""
        for name, script in {**SUBSTITUTES, "ray": ray}.items():
            (self.programs / name).write_text(f"#!/bin/bash\n{script}\n")
            (self.programs / name).chmod(0o755)
        settings = {
            "HOME": str(self.home),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "said": str(self.said),
            "SLURM_JOB_NODELIST": "here",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_CPUS_PER_TASK": "3",
        }
        done = subprocess.run(
            ["bash", str(ROOT / "cluster/slurm.sh"), "job.yaml", str(self.results)],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert not list(self.home.glob(".nst-token*"))
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


@pytest.mark.parametrize(
    ("existing", "command"),
    [
        ([], "launch job.yaml --run-dir"),
        (["job.yaml"], "launch job.yaml --run-dir"),
        (["job.yaml", "study.journal"], "resume"),
        (["job.yaml", "study.json"], "resume"),
    ],
)
def test_script_resumes_an_existing_run(slurm: Slurm, existing: list[str], command: str) -> None:
    """A folder with a study is resumed, one without is launched; srun gets the cores."""
    for name in existing:
        (slurm.results / name).touch()
    code, printed = slurm.run(LISTENS)
    assert code == 0, printed
    ray, tuner = slurm.said.read_text().splitlines()
    assert ray.endswith(" on 3") and "--num-cpus=3" in ray
    assert tuner.startswith(f"nst-tuner {command} {slurm.results} --address 127.0.0.1:")


def test_script_ends_when_ray_does_not_start(slurm: Slurm) -> None:
    """If Ray cannot start, its message is shown and the job fails at once."""
    code, printed = slurm.run("echo no such node >&2; exit 3")
    assert code == 1
    assert "no such node" in printed and "here: Ray did not start" in printed
    assert not slurm.said.exists()


def test_script_ends_when_ray_does_not_listen(slurm: Slurm) -> None:
    """If Ray starts but never listens, the job fails after a limited wait."""
    code, printed = slurm.run("exec python3 -c 'import time; time.sleep(60)'")
    assert code == 1 and "here: Ray does not listen at 127.0.0.1:" in printed
    assert not slurm.said.exists()
