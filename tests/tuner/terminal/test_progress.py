"""The progress of a launch, in a terminal and elsewhere."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from nst_core.config import StyleConfig
from tests.tuner.helpers import make_search, play
from tuner.job.load import load_job
from tuner.run.trackers import Callbacks
from tuner.search.protocol import Plan
from tuner.study.records import EngineStats, Pulse, RungRecord
from tuner.study.study import load_records
from tuner.terminal.progress import ProgressCallback, _Engines


def make_callback(job_file: Path, *, terminal: bool) -> tuple[ProgressCallback, io.StringIO]:
    """Return a progress callback and the stream that it writes to."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=100, color_system=None)
    return ProgressCallback(load_job(job_file)[0], console), written


def send_events(callback: ProgressCallback) -> None:
    """Send a preset that ends, a better trial, a failed trial, and a running one."""
    for trial in range(4):
        plan = Plan(trial=trial, config=StyleConfig(steps=300), rungs=(30, 300))
        callback.planned(plan, "adam-1000" if trial == 0 else None)
    callback.reported(0, 300, RungRecord(objective=0.4, scores={}))
    callback.ended(0, "complete", None)
    callback.reported(1, 30, RungRecord(objective=0.3, scores={}))
    callback.ended(2, "failed", "went to NaN")
    stats = EngineStats(advancing_s=1.0, lane_steps=100)
    callback.pulsed({"engine-0": Pulse(0.0, (), {1: 45, 3: 7}, stats)})


def test_a_terminal_shows_the_best_engines_and_trials(job_file: Path) -> None:
    """The view shows the best trial against the presets, the engines, and every running trial."""
    callback, written = make_callback(job_file, terminal=True)
    with callback:
        send_events(callback)
        callback._live.refresh()
    view = written.getvalue()
    assert "LPIPS 0.3000" in view and "trial 1, 30 steps" in view
    assert "25% better than the best preset so far" in view
    assert "adam-1000 (cut to 300 of its 1,000 steps, on vgg16 instead of vgg19)" in view
    assert "1 on CPU" in view
    assert "45/300" in view and "7/300" in view
    assert "trial 2 failed: went to NaN" in view
    assert "2/8" in view


@pytest.mark.parametrize("name", ["cafe [/v2]", "[bold]cafe", "[red"])
def test_a_name_is_not_markup(job_file: Path, name: str) -> None:
    """A job's name with markup is shown as it is."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100, color_system=None)
    job = load_job(job_file)[0].model_copy(update={"name": name})
    with ProgressCallback(job, console) as callback:
        callback._live.refresh()
    assert name in written.getvalue()


def test_a_resumed_run_shows_its_earlier_results(job_file: Path, tmp_path: Path) -> None:
    """A resumed launch shows the best trial, the best preset and the trials of earlier launches."""
    play(make_search(job_file, tmp_path), lambda plan, _: 0.2 if plan.trial > 1 else 0.4)
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100, color_system=None)
    job = load_job(job_file, ["search.trials=20"])[0]
    with ProgressCallback(job, console, load_records(tmp_path)[0]) as callback:
        callback._live.refresh()
    view = written.getvalue()
    assert "8/20" in view
    assert "LPIPS 0.2000" in view and "trial 2" in view
    assert "50% better than the best preset so far" in view


def test_a_trial_that_breaks_a_bound_is_not_the_best(job_file: Path) -> None:
    """A report that breaks a constraint is never shown as the best."""
    written = io.StringIO()
    job = load_job(job_file, ["constraints.vram_gb=<= 2"])[0]
    callback = ProgressCallback(job, Console(file=written))
    for trial, (value, memory) in enumerate(((0.4, 1.0), (0.1, 3.0))):
        scores = {"lpips": value, "vram_gb": memory}
        callback.reported(trial, 30, RungRecord(objective=value, scores=scores))
        callback.ended(trial, "complete", None)
    assert written.getvalue().splitlines()[-1].startswith("2/8 trials, best LPIPS 0.4000, ")


def test_without_a_terminal_there_are_plain_lines(job_file: Path) -> None:
    """Without a terminal, every trial that ends gives one line."""
    callback, written = make_callback(job_file, terminal=False)
    with callback:
        send_events(callback)
    lines = written.getvalue().splitlines()
    assert lines[0].startswith("1/8 trials, best LPIPS 0.4000, ")
    assert lines[1] == "trial 2 failed: went to NaN"
    assert re.fullmatch(
        r"2/8 trials, best LPIPS 0.3000, \d+% of the steps, time left: measuring", lines[2]
    )


def test_a_launch_says_what_it_is_doing(job_file: Path) -> None:
    """The view names the present activity; without a terminal each new activity is a line."""
    callback, written = make_callback(job_file, terminal=True)
    with callback:
        callback.doing("starting Ray")
        callback._live.refresh()
    assert "now      starting Ray" in written.getvalue()
    callback, written = make_callback(job_file, terminal=False)
    with callback:
        for activity in (
            "starting Ray",
            "starting Ray",
            "starting the engines: 1 of 2 up",
            "",
            "starting the engines: 1 of 2 up",
        ):
            callback.doing(activity)
    assert written.getvalue().splitlines() == ["starting Ray", "starting the engines: 1 of 2 up"]


def test_steps_of_running_trials_are_progress(
    job_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps of running trials count as progress, in the view and in plain lines."""
    monkeypatch.setattr("tuner.terminal.progress.LINE_EVERY_S", 0.0)
    shares = []
    for terminal in (True, False):
        callback, written = make_callback(job_file, terminal=terminal)
        with callback:
            callback.planned(Plan(trial=0, config=StyleConfig(steps=6), rungs=(2, 6)), None)
            callback.pulsed({"engine-0": Pulse(0.0, (), {0: 2}, EngineStats(lane_steps=2))})
            callback._live.refresh()
        assert "0/8 trials" in written.getvalue()
        shares += re.findall(r"([1-9]\d*)%", written.getvalue())
    assert len(set(shares)) == 1


def test_the_view_is_narrow(job_file: Path) -> None:
    """The view is narrower than 80 columns, so that a resized terminal does not wrap it."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=200, color_system=None)
    job = load_job(job_file)[0].model_copy(update={"name": "a name that is much too long" * 3})
    with ProgressCallback(job, console) as callback:
        send_events(callback)
        callback._live.refresh()
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written.getvalue().replace("\r", "\n"))
    assert max(map(len, plain.splitlines())) < 80


def test_only_some_of_many_trials_are_shown(job_file: Path) -> None:
    """If many trials are running, the view shows ten of them and the number of others."""
    callback, written = make_callback(job_file, terminal=True)
    with callback:
        for trial in range(30):
            plan = Plan(trial=trial, config=StyleConfig(steps=300), rungs=(300,))
            callback.planned(plan, None)
        callback.pulsed({"engine-0": Pulse(0.0, (), dict.fromkeys(range(30), 9), EngineStats())})
        callback._live.refresh()
    assert "and 20 more" in written.getvalue()


def test_engines_are_measured_between_two_pulses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Busy share and steps/s are measured between two pulses; GPU memory is the sum."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    engines = _Engines()
    assert engines.line() == ""
    for seconds, steps in ((0.0, 0), (0.8, 40)):
        stats = EngineStats(advancing_s=seconds, lane_steps=steps)
        pulse = Pulse(0.0, (), {}, stats, (10.0, 80.0))
        engines.pulsed({"a": pulse, "b": pulse})
        now[0] += 1.0
    assert engines.line() == "2 on GPU, busy 80%, 80 steps/s, 20.0 of 160 GB"


def test_the_view_works_beside_experiment_trackers(job_file: Path) -> None:
    """The view gets its events if experiment trackers are notified as well."""
    callback, written = make_callback(job_file, terminal=False)
    with Callbacks(callback) as callbacks:
        callbacks.doing("starting Ray")
    assert written.getvalue() == "starting Ray\n"


def test_presets_in_full_are_named(job_file: Path) -> None:
    """A preset that runs in full is announced, and is not counted as a trial of the search."""
    callback, written = make_callback(job_file, terminal=False)
    with callback:
        plan = Plan(trial=8, config=StyleConfig(steps=1000), rungs=(1000,), final=True)
        callback.planned(plan, "adam-1000")
        callback.reported(8, 1000, RungRecord(objective=0.1, scores={}))
        callback.ended(8, "complete", None)
    assert "adam-1000 runs in full: 1,000 steps" in written.getvalue()
    assert callback._best is None and callback._done == 0
