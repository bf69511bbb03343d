"""Ways to start a run on a cluster: `ray up`, `--address`, `--submit` and Slurm, on this machine.

Substitutes for ssh, rsync and Slurm on PATH run here what the files send to other machines.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.error import HTTPError

import psutil
import pytest
import yaml

from tests.cluster.tunnel import Tunnel
from tests.tuner.processes import CLI
from tuner.results.results import load_results

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
PATIENCE_S = 300

SSH = """#!/bin/bash
# ssh OPTIONS USER@HOST WORDS: the machine is this one.
while [[ "$1" != *@* ]]; do shift; done
shift
exec bash -c "$*"
"""
RSYNC = """#!/bin/bash
# rsync ... SOURCE USER@HOST:TARGET
source="${@: -2:1}"; target="${@: -1}"; target="${target#*:}"; target="${target/#\\~/$HOME}"
[[ "$source" -ef "$target" ]] && exit 0  # one home for both machines
mkdir -p "$(dirname "$target")"
[[ -d "$source" ]] && { mkdir -p "$target"; exit 0; }
cp "$source" "$target"
"""
SRUN = """#!/bin/bash
while [[ "$1" == -* ]]; do [[ "$1" == -w ]] && shift; shift; done
[[ "$1" == hostname ]] && { echo 127.0.0.1; exit 0; }
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo localhost
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with a token, the environment that the files expect, and the substitutes."""
    home = tmp_path / "home"
    (home / ".ray").mkdir(parents=True)
    token = home / ".ray" / "auth_token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    (home / ".bashrc").touch()
    (home / "nst-venv").symlink_to(sys.prefix)
    (home / "bin").mkdir()
    substitutes = {"ssh": SSH, "rsync": RSYNC, "srun": SRUN, "scontrol": SCONTROL}
    for name, script in substitutes.items():
        (home / "bin" / name).write_text(script)
        (home / "bin" / name).chmod(0o755)
    return home


@pytest.fixture
def env(home: Path) -> Mapping[str, str]:
    """The environment variables of a person with that home folder; the token is in its file."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    cache = os.environ.get("NST_TUNER_CACHE") or str(Path.home() / ".cache" / "nst-tuner")
    path = f"{home / 'bin'}:{Path(sys.prefix) / 'bin'}:{kept['PATH']}"
    return {**kept, "HOME": str(home), "PATH": path, "NST_TUNER_CACHE": cache, "USER": "me"}


def done(*command: str, env: Mapping[str, str], cwd: Path | None = None) -> tuple[int, str]:
    found = subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return found.returncode, found.stdout + found.stderr


def started(command: list[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a process whose output and errors can be read line by line."""
    return subprocess.Popen(
        command, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def processes_of(home: Path) -> list[psutil.Process]:
    """Return the processes with that home folder that are still running."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME") == str(home):
                found.append(process)
    return found


def end_all_of(home: Path) -> None:
    """Kill the processes with that home folder; `ray stop` would end every Ray of this machine."""
    deadline = time.monotonic() + 30
    while found := processes_of(home):
        assert time.monotonic() < deadline, found
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=1)


def skip_if_taken(*ports: int) -> None:
    """Skip the test if another cluster of this machine uses the ports that the files name."""
    for port in ports:
        with socket.socket() as free:
            if free.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port} of this machine is taken")


@pytest.fixture
def cluster(home: Path, env: Mapping[str, str], tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """A cluster of `ray up cluster/on-premise.yaml` on this machine: variables to reach it."""
    skip_if_taken(6379, 8265)
    config = yaml.safe_load((ROOT / "cluster/on-premise.yaml").read_text())
    stop, *start = config["head_start_ray_commands"]
    assert stop.endswith("ray stop")  # would end every Ray of this machine
    # Another cluster of this machine may use the default port of the agent that accepts jobs.
    config["head_start_ray_commands"] = [
        f"{command} --dashboard-agent-listen-port=0" for command in start
    ]
    config["provider"].update(head_ip="127.0.0.1", worker_ips=[])
    config.update(min_workers=0, max_workers=0, setup_commands=["chmod 600 ~/.ray/auth_token"])
    config["auth"] = {"ssh_user": "me"}
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(config))
    up = ("ray", "up", "--yes", "--no-config-cache", str(file))
    try:
        code, printed = done(*up, env=env, cwd=ROOT)
        assert code == 0, printed
        yield {**env, "RAY_AUTH_MODE": "token"}
    finally:
        end_all_of(home)


@pytest.mark.timeout(1200)
def test_cluster_accepts_launches_with_its_token_only(
    cluster: Mapping[str, str], home: Path, job_file: Path, tmp_path: Path
) -> None:
    """A cluster of `ray up` accepts a launch with its token; it refuses others, and browsers."""
    launch = [*CLI, "launch", str(job_file), "--set", "search.trials=3", "--address"]
    code, printed = done(*launch, "127.0.0.1:6379", "--run-dir", str(tmp_path / "a"), env=cluster)
    assert code == 0, printed
    assert len(load_results(tmp_path / "a").records) == 3
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen("http://127.0.0.1:8265/api/jobs/", timeout=PATIENCE_S)
    assert refused.value.code in (401, 403)
    (home / ".ray" / "auth_token").unlink()
    for env in ({}, {"RAY_AUTH_TOKEN": "0" * 64}, {"RAY_AUTH_MODE": "disabled"}):
        again = [*launch, "127.0.0.1:6379", "--run-dir", str(tmp_path / "b")]
        code, printed = done(*again, env={**cluster, **env})
        assert code == 2, printed
        assert "Traceback" not in printed and "token" in printed.splitlines()[-1]
        assert sum("oken" in line for line in printed.splitlines()) == 1, printed
        assert not (tmp_path / "b").exists()


@pytest.mark.timeout(1200)
def test_submitted_launch_can_be_followed_again(
    cluster: Mapping[str, str], job_file: Path, tmp_path: Path
) -> None:
    """A submitted launch is followed to its end, survives its follower, and can be attached to."""
    address = ["--address", "http://127.0.0.1:8265"]
    options = ["--set", "search.trials=3", "--submit", *address]
    launch = [*CLI, "launch", str(job_file), *options, "--run-dir", str(tmp_path / "a")]
    deadline = time.monotonic() + PATIENCE_S
    while "No available agent" in (answer := done(*launch, env=cluster))[1]:
        assert time.monotonic() < deadline, answer  # the head has only just started
    code, printed = answer
    assert code == 0, printed
    assert "3/3 trials" in printed
    assert len(load_results(tmp_path / "a").records) == 3
    launch[-1] = str(tmp_path / "b")
    with started(launch, env=cluster) as follower:
        assert follower.stdout is not None
        said = ""
        while not (found := re.search(r"submitted as (\S+);", said)):
            line = follower.stdout.readline()
            assert line, said
            said += line
        follower.kill()
    code, printed = done(*CLI, "attach", found[1], *address, env=cluster)
    assert code == 0, printed
    assert len(load_results(tmp_path / "b").records) == 3
    code, printed = done(*CLI, "attach", "nobody", *address, env=cluster)
    assert code == 2 and "no such job" in printed


@pytest.mark.timeout(1200)
def test_following_survives_a_cut_tunnel(
    cluster: Mapping[str, str], job_file: Path, tmp_path: Path
) -> None:
    """A follower reports a cut tunnel once, reports its return once, and continues."""
    options = ["--set", "search.trials=20", "--set", "halving.max_steps=54", "--submit"]
    launch = [*CLI, "launch", str(job_file), *options, "--run-dir", str(tmp_path / "a")]
    deadline = time.monotonic() + PATIENCE_S
    with Tunnel(8265).opened() as tunnel:
        launch += ["--address", f"http://127.0.0.1:{tunnel.port}"]
        said = ""
        while "submitted as" not in said:
            assert time.monotonic() < deadline, said  # the head has only just started
            follower = subprocess.Popen(
                launch,
                env=dict(cluster),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert follower.stdout is not None
            said = read_until(follower, "trials", "No available agent")
        tunnel.cut()
        said += read_until(follower, "does not answer")
        time.sleep(5)
        assert follower.poll() is None
        tunnel.open()
        said += follower.communicate(timeout=PATIENCE_S)[0]
    assert follower.returncode == 0, said
    assert said.count("does not answer") == said.count("is back") == 1
    assert said.index("does not answer") < said.index("is back") < said.index("20/20 trials")
    assert len(load_results(tmp_path / "a").records) == 20


def read_until(process: subprocess.Popen[str], *words: str) -> str:
    """Return what a process prints up to a line that contains one of the words, or to its end."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if any(word in line for word in words):
            break
    return said


@pytest.mark.timeout(900)
def test_slurm_script_launches_and_resumes(
    home: Path, env: Mapping[str, str], job_file: Path, tmp_path: Path
) -> None:
    """The batch script starts a cluster and launches; submitted again, it resumes the run."""
    slurm = {
        "SLURM_JOB_NODELIST": "here",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_CPUS_PER_TASK": "2",
        "SLURM_GPUS_ON_NODE": "0",
    }
    command = ("bash", str(ROOT / "cluster/slurm.sh"), str(job_file), str(tmp_path / "run"))
    try:
        for _ in range(2):
            code, printed = done(*command, env={**env, **slurm})
            assert code == 0, printed
            end_all_of(home)
    finally:
        end_all_of(home)
    assert len(load_results(tmp_path / "run").records) == 8
    assert not list(home.glob(".nst-token*"))
