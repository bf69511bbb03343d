"""Connection: starting Ray and joining clusters in every kind of environment."""

import logging
import os
from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest
import ray

from nst_core.errors import InputError, WorkError
from tuner.cluster import connection, ray_private
from tuner.cluster.connection import connected, ray_backend
from tuner.cluster.engine_shapes import EngineShape
from tuner.cluster.engine_supervisor import EngineSupervisor
from tuner.cluster.limits import RAY_DID_NOT_START


def test_start_that_times_out_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A start of Ray that times out is repeated; the final error is one line with the reason."""
    timeout = Exception("The current node timed out during startup.\nSee …")
    init = mock.Mock(side_effect=timeout)
    monkeypatch.setattr("ray.init", init)
    expected = f"{RAY_DID_NOT_START}.*timed out"
    with pytest.raises(WorkError, match=expected) as caught, connected(None):
        pass
    assert "\n" not in str(caught.value)
    assert init.call_count == connection.START_ATTEMPTS
    retries = [line for line in caplog.messages if "busy" in line]
    assert len(retries) == connection.START_ATTEMPTS - 1


def test_own_cluster_always_has_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that we start has a token, even if the user's variables disable tokens."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    monkeypatch.setenv("RAY_ADDRESS", "")
    ray_backend()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert "RAY_ADDRESS" not in os.environ


@pytest.mark.parametrize("value", ["127.0.0.1:9", "ray://127.0.0.1:10001", "nonsense"])
def test_wrong_ray_address_variable_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--address auto` means RAY_ADDRESS; if no cluster answers there, the message names it."""
    monkeypatch.setenv("RAY_ADDRESS", value)
    with pytest.raises(InputError, match=f"RAY_ADDRESS={value}"):
        ray_backend("auto")


def test_unchecked_release_of_ray_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says that the installed release of Ray is not the one this project checked."""
    monkeypatch.setattr(ray_private, "CHECKED", "1.2")
    monkeypatch.setattr("ray.init", mock.Mock(side_effect=Exception("no")))
    with pytest.raises(WorkError), connected(None):
        pass
    (line,) = (line for line in caplog.messages if "ray[" not in line and "1.2" in line)
    assert f"ray {ray.__version__} is installed" in line and "tested with 1.2" in line


def test_error_of_an_engines_constructor_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The constructor's own error is quoted in one warning, without a guess about memory."""

    class Unable:  # a local class is pickled by value, so that workers need not import it
        def __init__(self) -> None:
            raise OSError("libcudnn.so.9: cannot open shared object file\nreinstall cuDNN")

        async def ready(self) -> None:
            """Do nothing: the constructor fails before."""

    def make(_: EngineShape, options: Mapping[str, Any]) -> Any:
        return ray.remote(Unable).options(**options).remote()

    caplog.set_level(logging.WARNING)
    with connected(None):
        supervisor = EngineSupervisor(make, device="cpu", lanes=1, deadline_s=600)
        with pytest.raises(WorkError, match=r"could not start.*libcudnn\.so\.9"):
            list(supervisor.start())
        supervisor.close()
    warnings = [line for line in caplog.messages if line.startswith("engine-")]
    assert sum("libcudnn" in line for line in warnings) == 1
    assert all("given up" in line for line in warnings[1:])
    assert not any("memory" in line for line in caplog.messages)
