"""Tokens: a cluster refuses launches that have a wrong token or none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.tuner.processes import CLI, PATIENCE_S, assert_no_traceback, cluster_with_head

WRONG = "0" * 64
#: Environment variables of launches that the cluster must refuse.
REFUSED = {
    "wrong": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": WRONG},
    "none": {"RAY_AUTH_MODE": "token"},
    "no mode": {"RAY_AUTH_TOKEN": WRONG},
    "disabled": {"RAY_AUTH_MODE": "disabled"},
}


@pytest.mark.slow
def test_cluster_refuses_launches_without_its_token(job_file: Path, tmp_path: Path) -> None:
    """A launch with a wrong token or none ends at once with one line, and leaves no run."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    cache = os.environ.get("NST_TUNER_CACHE") or str(Path.home() / ".cache" / "nst-tuner")
    base.update(NST_TUNER_CACHE=cache, HOME=str(tmp_path))  # this HOME contains no token
    with cluster_with_head(1) as cluster:
        launch = [*CLI, "launch", str(job_file), "--address", cluster.address, "--run-dir"]
        for name, env in REFUSED.items():
            done = subprocess.run(
                [*launch, str(tmp_path / name)],
                env={**base, **env},
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            assert done.returncode == 2, done.stderr
            assert_no_traceback(done.stderr)
            # Ray itself would print a line each second for half a minute.
            lines = [line for line in done.stderr.splitlines() if "oken" in line]
            assert len(lines) == 1 and lines[0].startswith("error: --address"), done.stderr
            assert not (tmp_path / name).exists()
