"""Experiment trackers: which events they receive, and that their errors stop no run."""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import ray

from nst_core.errors import InputError
from tests.tuner.helpers import Recorder, make_search, play
from tuner.job.load import load_job
from tuner.job.spec import JobSpec
from tuner.run.trackers import (
    TRACKERS,
    Callbacks,
    PrometheusCallback,
    TensorBoardCallback,
    make_callbacks,
)
from tuner.study.records import EngineStats, Pulse, RungRecord
from tuner.study.run_dir import RunDir
from tuner.study.study import load_records


def job_of(job_file: Path, *watch: str) -> JobSpec:
    """The job of a file with other trackers."""
    return load_job(job_file, [f"watch=[{', '.join(watch)}]"])[0]


def test_tensorboard_has_the_curves(job_file: Path, tmp_path: Path) -> None:
    """The scores of every trial are curves over its steps, in one file per trial."""
    reader = pytest.importorskip("tensorboardX.proto.event_pb2")
    record = pytest.importorskip("tensorboardX.record_writer")
    assert reader and record
    folder = tmp_path / "run"
    folder.mkdir()
    with make_callbacks(job_of(job_file, "tensorboard"), RunDir(tmp_path), Recorder()) as callback:
        play(make_search(job_file, folder, callback=callback), lambda plan, steps: 1.0 / steps)
    files = sorted((tmp_path / "tensorboard").rglob("events.*"))
    assert [path.parent.name for path in files] == [f"{trial:04d}" for trial in range(8)]
    content = files[0].read_bytes()
    assert b"lpips" in content and b"seconds_per_image" in content


def test_tensorboard_keeps_few_files_open(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most `MOST_WRITERS` files are open, however many trials are paused."""
    monkeypatch.setattr("tuner.run.trackers.MOST_WRITERS", 2)
    callback = TensorBoardCallback(job_of(job_file, "tensorboard"), RunDir(tmp_path))
    opened: list[int] = []
    real = callback._open
    monkeypatch.setattr(callback, "_open", lambda trial: (opened.append(trial), real(trial))[1])
    rung = RungRecord(scores={"lpips": 0.5}, objective=0.5, seconds=1.0)
    for trial in (0, 1, 0, 2, 0, 1):
        callback.reported(trial, 10, rung)
        assert len(callback._writers) <= 2
    assert opened == [0, 1, 2, 1]
    for trial in range(3):
        callback.ended(trial, "complete", None)
    assert not callback._writers
    files = sorted(tmp_path.rglob("events.*"))
    # The two files of trial 1 were written in the same second.
    assert [path.parent.name for path in files] == ["0000", "0001", "0001", "0002"]
    assert all(b"lpips" in path.read_bytes() for path in files)


def test_mlflow_has_a_run_for_each_trial(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every trial is an MLflow run with its settings as parameters and its scores as metrics."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    folder = tmp_path / "run"
    folder.mkdir()
    with make_callbacks(job_of(job_file, "mlflow"), RunDir(tmp_path), Recorder()) as callback:
        play(make_search(job_file, folder, callback=callback), lambda plan, steps: 1.0 / steps)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 8
    assert all("lpips" in run.data.metrics and "lr" in run.data.params for run in runs)


def test_a_missing_mlflow_is_an_input_error(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If MLflow is not installed, the error names the command that installs it."""
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(InputError, match="pip install mlflow-skinny"):
        make_callbacks(job_of(job_file, "mlflow"), RunDir(tmp_path), Recorder())


def test_an_error_of_a_tracker_stops_nothing(
    job_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A tracker that raises an error is left out with a warning; the run continues."""

    class Broken(Recorder):
        def reported(self, *_: object) -> None:  # type: ignore[override]
            raise OSError("server away")

    first, other = Recorder(), Recorder()
    folder = tmp_path / "run"
    folder.mkdir()
    with caplog.at_level(logging.WARNING), Callbacks(first, [Broken(), other]) as callback:
        play(make_search(job_file, folder, callback=callback), lambda plan, steps: 1.0 / steps)
    assert caplog.text.count("server away") == 1
    assert first.events == other.events and len(first.events) > 8


def test_a_tracker_that_hangs_delays_nothing(
    job_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A tracker that never returns delays neither the run nor its end, nor other trackers."""
    never = threading.Event()

    class Hanging(Recorder):
        def planned(self, *_: object) -> None:  # type: ignore[override]
            never.wait()

    first, other = Recorder(), Recorder()
    folder = tmp_path / "run"
    folder.mkdir()
    callbacks = Callbacks(first, [Hanging(), other])
    play(make_search(job_file, folder, callback=callbacks), lambda plan, steps: 1.0 / steps)
    with caplog.at_level(logging.WARNING):
        callbacks.finish(within_s=0.5)
    never.set()
    assert "Hanging: not finished after" in caplog.text
    assert first.events == other.events and len(first.events) > 8


def test_a_tracker_that_falls_behind_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A tracker with `MOST_WAITING` events in its queue receives no more events."""
    monkeypatch.setattr("tuner.run.trackers.MOST_WAITING", 3)
    never = threading.Event()

    class Hanging(Recorder):
        def ended(self, *_: object) -> None:  # type: ignore[override]
            never.wait()

    callbacks = Callbacks(first := Recorder(), [Hanging()])
    with caplog.at_level(logging.WARNING):
        for trial in range(9):
            callbacks.ended(trial, "complete", None)
        callbacks.finish(within_s=0.1)
    never.set()
    assert caplog.text.count("3 events behind; left out") == 1
    assert len(first.events) == 9


def test_a_tracker_that_cannot_start_is_left_out(
    job_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A tracker that cannot start is left out with a warning; other trackers start."""
    failing = mock.Mock(side_effect=ConnectionError("no server"))
    monkeypatch.setattr(
        "tuner.run.trackers.TRACKERS", {"mlflow": failing, "tensorboard": mock.Mock()}
    )
    with caplog.at_level(logging.WARNING):
        callback = make_callbacks(
            job_of(job_file, "mlflow", "tensorboard"), RunDir(tmp_path), Recorder()
        )
    assert "no server" in caplog.text and "left out" in caplog.text
    assert len(callback._trackers) == 1  # type: ignore[attr-defined]


def test_mlflow_gets_one_request_per_report(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All settings of a trial are sent in one request, and so are all scores of a report."""
    client = mock.Mock()
    entities = SimpleNamespace(Metric=mock.Mock(), Param=mock.Mock())
    package = SimpleNamespace(MlflowClient=lambda: client, entities=entities)
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    first = Recorder()
    folder = tmp_path / "run"
    folder.mkdir()
    with make_callbacks(job_of(job_file, "mlflow"), RunDir(tmp_path), first) as callback:
        play(make_search(job_file, folder, callback=callback), lambda plan, steps: 1.0 / steps)
    started = {event[1] for event in first.events}
    assert client.log_batch.call_count == len(started) + len(first.reached)
    assert not client.log_param.called and not client.log_metric.called


def test_the_best_score_is_that_of_all_launches(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a resume Prometheus still gets the best score of the whole run."""
    gauges: dict[str, mock.Mock] = {}

    def gauge(name: str, *_: object) -> mock.Mock:
        return gauges.setdefault(name, mock.Mock())

    monkeypatch.setattr("ray.util.metrics.Gauge", gauge)
    monkeypatch.setattr("ray.util.metrics.Counter", gauge)
    (tmp_path / "job.yaml").write_bytes(job_file.read_bytes())
    play(make_search(job_file, tmp_path), lambda plan, steps: 1.0 / steps)
    callback = make_callbacks(job_of(job_file, "prometheus"), RunDir(tmp_path), Recorder())
    set_score = gauges["nst_best_score"].set
    best = set_score.call_args.args[0]
    assert best == min(r.objective for t in load_records(tmp_path)[0] for r in t.rungs.values())
    set_score.reset_mock()
    callback.reported(9, 2, RungRecord(objective=0.9, scores={}))
    callback.finish()
    assert not set_score.called


def test_the_best_score_is_set_with_every_pulse(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gauge of the best score is set with every pulse, because Ray drops unset gauges."""
    gauges: dict[str, mock.Mock] = {}

    def gauge(name: str, *_: object) -> mock.Mock:
        return gauges.setdefault(name, mock.Mock())

    monkeypatch.setattr("ray.util.metrics.Gauge", gauge)
    monkeypatch.setattr("ray.util.metrics.Counter", gauge)
    callback = PrometheusCallback(job_of(job_file, "prometheus"), RunDir(tmp_path))
    callback.pulsed({})
    set_score = gauges["nst_best_score"].set
    assert not set_score.called
    for objective in (0.5, 0.7):
        callback.reported(0, 2, RungRecord(objective=objective, scores={}))
        callback.pulsed({})
    assert [call.args for call in set_score.call_args_list] == [(0.5,)] * 3


@pytest.mark.slow
def test_prometheus_finds_all_documented_metrics(
    job_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real Ray node exports every metric that the documentation names, as long as pulses come."""
    document = (Path(__file__).parents[3] / "docs/guide/clusters.md").read_text(encoding="utf-8")
    names = {f"ray_{name}" for name in re.findall(r"`(nst_\w+)`", document)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pulse = Pulse(0.0, (), {0: 1}, EngineStats(lane_steps=5, advancing_s=1.0), (1.0, 2.0))

    def scraped(callback: Callbacks) -> set[str]:
        """Return the metrics that the node exports one second after a pulse."""
        callback.pulsed({"engine-0": pulse})
        time.sleep(1)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return set()
        return {name for name in names if re.search(rf"^{name}\{{.*small", text, re.MULTILINE)}

    # Ray drops a gauge after two report intervals; this process and the agent must both know them.
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "1000")
    options = {"_metrics_export_port": port, "_system_config": {"metrics_report_interval_ms": 1000}}
    ray.init("local", include_dashboard=False, num_cpus=1, log_to_driver=False, **options)
    try:
        with make_callbacks(
            job_of(job_file, "prometheus"), RunDir(tmp_path), Recorder()
        ) as callback:
            callback.reported(0, 2, RungRecord(objective=0.5, scores={}))
            callback.ended(0, "complete", None)
            deadline = time.monotonic() + 60
            while scraped(callback) != names and time.monotonic() < deadline:
                pass
            assert all(scraped(callback) == names for _ in range(6))
    finally:
        ray.shutdown()


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_job_may_name_every_tracker(tracker: str, job_file: Path) -> None:
    """`watch` accepts the name of every tracker."""
    assert job_of(job_file, tracker).watch == [tracker]
