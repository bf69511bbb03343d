"""Starting Ray and joining clusters, whatever the environment is like."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest
import ray

from nst_core.errors import InputError, WorkError
from tuner.cluster import session
from tuner.cluster.connection import ray_backend
from tuner.cluster.engine_shapes import EngineShape
from tuner.cluster.engine_supervisor import EngineSupervisor
from tuner.cluster.session import NO_RAY, connected, scratch_folder


@pytest.fixture
def no_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", None),
        ("relative", "absolute"),
        ("/tmp/tü", "ASCII"),
        ("/scratch/users/somebody/slurm_jobdir/1234567", "36 characters"),
        ("/no/such/folder", "not a folder"),
    ],
)
def test_a_temporary_folder_that_ray_cannot_use(
    value: str,
    why: str | None,
    no_scratch: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where TMPDIR cannot hold Ray's sockets the next folder does, and the variable is named."""
    monkeypatch.setenv("TMPDIR", value)
    assert scratch_folder() == Path("/tmp")
    said = "\n".join(caplog.messages)
    assert (f"TMPDIR={value}: " in said and why in said) if why else not said


def test_rays_own_variable_comes_first(no_scratch: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """RAY_TMPDIR, if it can be used, wins over TMPDIR, and that over /tmp."""
    with TemporaryDirectory(dir="/tmp") as one, TemporaryDirectory(dir="/tmp") as other:
        monkeypatch.setenv("TMPDIR", one)
        assert scratch_folder() == Path(one)
        monkeypatch.setenv("RAY_TMPDIR", other)
        assert scratch_folder() == Path(other)


def test_no_temporary_folder_at_all(no_scratch: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written, one error names every folder that was tried and what to do."""
    monkeypatch.setenv("TMPDIR", "/no/such/folder")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(WorkError, match=r"TMPDIR=/no/such/folder: .*/tmp: cannot be.*RAY_TMPDIR"):
        scratch_folder()


def test_a_machine_that_is_too_busy_for_ray(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ray's 30 s for its own processes are tried again; at last the reason is one line."""
    late = Exception("The current node timed out during startup.\nSee …")
    init = mock.Mock(side_effect=late)
    monkeypatch.setattr("ray.init", init)
    with pytest.raises(WorkError, match=f"{NO_RAY}.*timed out") as caught, connected(None):
        pass
    assert "\n" not in str(caught.value)
    assert init.call_count == session.START_TRIES
    assert len([line for line in caplog.messages if "busy" in line]) == session.START_TRIES - 1


def test_a_cluster_of_ours_always_has_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an empty token nor a mode that the user disabled leaves a cluster open."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    monkeypatch.setenv("RAY_ADDRESS", "")
    ray_backend()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert "RAY_ADDRESS" not in os.environ


@pytest.mark.parametrize("value", ["127.0.0.1:9", "ray://127.0.0.1:10001", "nonsense"])
def test_a_cluster_that_the_environment_names_wrongly(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--address auto` means RAY_ADDRESS; where that leads nowhere, it is named at once."""
    monkeypatch.setenv("RAY_ADDRESS", value)
    with pytest.raises(InputError, match=f"RAY_ADDRESS={value}"):
        ray_backend("auto")


def test_another_release_of_ray(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where Ray is not the release whose internals we know, one line says so before it starts."""
    monkeypatch.setattr(session.ray_private, "CHECKED", "1.2")
    monkeypatch.setattr("ray.init", mock.Mock(side_effect=Exception("no")))
    with pytest.raises(WorkError), connected(None):
        pass
    (line,) = (line for line in caplog.messages if "ray[" not in line and "1.2" in line)
    assert f"ray {ray.__version__} is installed" in line and "checked with 1.2" in line


def test_why_an_engine_cannot_start(caplog: pytest.LogCaptureFixture) -> None:
    """What the constructor of an engine raised is what people are told, not a guess at memory."""

    class Unable:  # defined here, it travels by value
        def __init__(self) -> None:
            raise OSError("libcudnn.so.9: cannot open shared object file")

        async def ready(self) -> None:
            """Never called."""

    def make(_: EngineShape, options: Mapping[str, Any]) -> Any:
        return ray.remote(Unable).options(**options).remote()

    caplog.set_level(logging.WARNING)
    with connected(None):
        fleet = EngineSupervisor(make, device="cpu", lanes=1, deadline_s=600)
        with pytest.raises(WorkError, match=r"could not start.*libcudnn\.so\.9"):
            list(fleet.opening())
        fleet.close()
    assert not any("memory" in line for line in caplog.messages)
