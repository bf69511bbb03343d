"""A cluster that asks for its token, and launches that have another one or none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.tuner.processes import CLI, PATIENCE_S, assert_calm, cluster_with_head

WRONG = "0" * 64
#: What is in the environment of somebody whom the cluster does not take.
STRANGERS = {
    "wrong": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": WRONG},
    "none": {"RAY_AUTH_MODE": "token"},
    "no mode": {"RAY_AUTH_TOKEN": WRONG},
    "disabled": {"RAY_AUTH_MODE": "disabled"},
}


@pytest.mark.slow
def test_a_cluster_takes_nobody_but_who_has_its_token(job_file: Path, tmp_path: Path) -> None:
    """Whoever has another token or none is told so in one line, at once, and nothing is left."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    cache = os.environ.get("NST_TUNER_CACHE") or str(Path.home() / ".cache" / "nst-tuner")
    kept.update(NST_TUNER_CACHE=cache, HOME=str(tmp_path))  # where there is no token either
    with cluster_with_head(1) as cluster:
        launch = [*CLI, "launch", str(job_file), "--address", cluster.address, "--run-dir"]
        for name, env in STRANGERS.items():
            done = subprocess.run(
                [*launch, str(tmp_path / name)],
                env={**kept, **env},
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            assert done.returncode == 2, done.stderr
            assert_calm(done.stderr)
            # Ray itself would say so each second for half a minute.
            said = [line for line in done.stderr.splitlines() if "oken" in line]
            assert len(said) == 1 and said[0].startswith("error: --address"), done.stderr
            assert not (tmp_path / name).exists()
