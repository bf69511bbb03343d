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


def watcher_on(job_file: Path, *, terminal: bool) -> tuple[ProgressCallback, io.StringIO]:
    """A callback that writes into memory."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=100, color_system=None)
    return ProgressCallback(load_job(job_file)[0], console), written


def events(callback: ProgressCallback) -> None:
    """A preset that ends, a trial that is better, one that fails, and one under way."""
    for trial in range(4):
        plan = Plan(trial=trial, config=StyleConfig(steps=300), rungs=(30, 300))
        callback.planned(plan, "adam-1000" if trial == 0 else None)
    callback.reported(0, 300, RungRecord(objective=0.4, scores={}))
    callback.ended(0, "complete", None)
    callback.reported(1, 30, RungRecord(objective=0.3, scores={}))
    callback.ended(2, "failed", "went to NaN")
    stats = EngineStats(advancing_s=1.0, lane_steps=100)
    callback.pulsed({"engine-0": Pulse(0.0, (), {1: 45, 3: 7}, stats)})


def test_a_terminal_shows_best_engines_and_trials(job_file: Path) -> None:
    """The best so far against the presets, what engines do, and every trial as it advances."""
    callback, written = watcher_on(job_file, terminal=True)
    with callback:
        events(callback)
        callback._live.refresh()
    shown = written.getvalue()
    assert "lpips 0.3000" in shown and "trial 1, 30 steps" in shown
    assert "25% better than the best preset so far" in shown
    assert "adam-1000 (cut to 300 of its 1,000 steps, on vgg16 instead of vgg19)" in shown
    assert "1 on CPU" in shown
    assert "45/300" in shown and "7/300" in shown
    assert "trial 2 failed: went to NaN" in shown
    assert "2/8" in shown


@pytest.mark.parametrize("name", ["cafe [/v2]", "[bold]cafe", "[red"])
def test_a_name_is_no_markup(job_file: Path, name: str) -> None:
    """A job's name is shown as it is written."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100, color_system=None)
    job = load_job(job_file)[0].model_copy(update={"name": name})
    with ProgressCallback(job, console) as callback:
        callback._live.refresh()
    assert name in written.getvalue()


def test_a_resumed_run_shows_what_was_found_before(job_file: Path, tmp_path: Path) -> None:
    """Best, best preset, trials done and the new target are there from the beginning."""
    play(make_search(job_file, tmp_path), lambda plan, _: 0.2 if plan.trial > 1 else 0.4)
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100, color_system=None)
    job = load_job(job_file, ["search.trials=20"])[0]
    with ProgressCallback(job, console, load_records(tmp_path)[0]) as callback:
        callback._live.refresh()
    shown = written.getvalue()
    assert "8/20" in shown
    assert "lpips 0.2000" in shown and "trial 2" in shown
    assert "50% better than the best preset so far" in shown


def test_what_breaks_a_bound_is_not_the_best(job_file: Path) -> None:
    """A report that breaks a constraint is not shown as the best, however good."""
    written = io.StringIO()
    job = load_job(job_file, ["constraints.vram_gb=<= 2"])[0]
    callback = ProgressCallback(job, Console(file=written))
    for trial, (value, memory) in enumerate(((0.4, 1.0), (0.1, 3.0))):
        scores = {"lpips": value, "vram_gb": memory}
        callback.reported(trial, 30, RungRecord(objective=value, scores=scores))
        callback.ended(trial, "complete", None)
    assert written.getvalue().splitlines()[-1].startswith("2/8 trials, best lpips 0.4000, ")


def test_elsewhere_there_are_plain_lines(job_file: Path) -> None:
    """Without a terminal every trial that ends is a line, and nothing moves."""
    callback, written = watcher_on(job_file, terminal=False)
    with callback:
        events(callback)
    lines = written.getvalue().splitlines()
    assert lines[0].startswith("1/8 trials, best lpips 0.4000, ")
    assert lines[1] == "trial 2 failed: went to NaN"
    assert re.fullmatch(
        r"2/8 trials, best lpips 0.3000, \d+% of the steps, time left: measuring", lines[2]
    )


def test_what_a_launch_does_is_said_at_once(job_file: Path) -> None:
    """Before the first step the view says what is being done; elsewhere each change is a line."""
    callback, written = watcher_on(job_file, terminal=True)
    with callback:
        callback.doing("starting Ray")
        callback._live.refresh()
    assert "now      starting Ray" in written.getvalue()
    callback, written = watcher_on(job_file, terminal=False)
    with callback:
        for what in (
            "starting Ray",
            "starting Ray",
            "starting the engines: 1 of 2 up",
            "",
            "starting the engines: 1 of 2 up",
        ):
            callback.doing(what)
    assert written.getvalue().splitlines() == ["starting Ray", "starting the engines: 1 of 2 up"]


def test_steps_of_trials_under_way_are_progress(
    job_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before a trial ends its steps move the bar, and elsewhere a line comes now and then."""
    monkeypatch.setattr("tuner.terminal.progress.LINE_EVERY_S", 0.0)
    shares = []
    for terminal in (True, False):
        callback, written = watcher_on(job_file, terminal=terminal)
        with callback:
            callback.planned(Plan(trial=0, config=StyleConfig(steps=6), rungs=(2, 6)), None)
            callback.pulsed({"engine-0": Pulse(0.0, (), {0: 2}, EngineStats(lane_steps=2))})
            callback._live.refresh()
        assert "0/8 trials" in written.getvalue()
        shares += re.findall(r"([1-9]\d*)%", written.getvalue())
    assert len(set(shares)) == 1


def test_the_view_is_narrow(job_file: Path) -> None:
    """Nothing but a long message reaches the edge of 80 columns, where resizing would break it."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=200, color_system=None)
    job = load_job(job_file)[0].model_copy(update={"name": "a name that is much too long" * 3})
    with ProgressCallback(job, console) as callback:
        events(callback)
        callback._live.refresh()
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written.getvalue().replace("\r", "\n"))
    assert max(map(len, plain.splitlines())) < 80


def test_many_trials_are_summed_up(job_file: Path) -> None:
    """Of many trials some are shown, and how many more there are."""
    callback, written = watcher_on(job_file, terminal=True)
    with callback:
        for trial in range(30):
            plan = Plan(trial=trial, config=StyleConfig(steps=300), rungs=(300,))
            callback.planned(plan, None)
        callback.pulsed({"engine-0": Pulse(0.0, (), dict.fromkeys(range(30), 9), EngineStats())})
        callback._live.refresh()
    assert "and 20 more" in written.getvalue()


def test_engines_are_measured_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Busy share and steps a second are those of the last second, GPU memory is summed."""
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


def test_what_a_launch_does_reaches_the_view_beside_other_watchers(job_file: Path) -> None:
    """Also where Prometheus or MLflow listen as well, the view is told what is being done."""
    callback, written = watcher_on(job_file, terminal=False)
    with Callbacks(callback) as told:
        told.doing("starting Ray")
    assert written.getvalue() == "starting Ray\n"


def test_presets_in_full_are_named(job_file: Path) -> None:
    """A preset that runs to its own steps is announced, and counts as no trial of the search."""
    callback, written = watcher_on(job_file, terminal=False)
    with callback:
        plan = Plan(trial=8, config=StyleConfig(steps=1000), rungs=(1000,), final=True)
        callback.planned(plan, "adam-1000")
        callback.reported(8, 1000, RungRecord(objective=0.1, scores={}))
        callback.ended(8, "complete", None)
    assert "adam-1000 runs in full: 1,000 steps" in written.getvalue()
    assert callback._best is None and callback._done == 0
