"""Runs with a stylizer: search, halving, failures, results, export, and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from nst_core.errors import ConfigError
from nst_core.images.decode import open_picture
from nst_core.presets.preset import StylizerPreset
from tests.tuner.helpers import launch_run, nst_tuner
from tests.tuner.stylizers.helpers import AWKWARD, STYLIZERS, sleepers
from tuner.export.files import export_one
from tuner.job.load import load_job
from tuner.job.spec import JobSpec
from tuner.pages.comparison.page import write_comparison
from tuner.pages.report.page_data import report_data
from tuner.results.results import Results, load_results
from tuner.run.inline_backend import InlineBackend
from tuner.run.launch import resume_run
from tuner.search.protocol import Callback
from tuner.terminal.run_tables import best_table


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def run(job: Path, *overrides: str) -> Results:
    folder = job.parent / "run"
    launch_run(job, folder, InlineBackend(), *overrides)
    return load_results(folder)


def test_a_run_beats_the_defaults_and_its_preset_repeats_the_picture(tint_job: Path) -> None:
    """The first trial has the defaults, tuning beats them, and `stylize` makes the same picture."""
    results = run(tint_job, "objective={lpips: 1, cost: 0.001}")
    defaults, best = results.records[0], results.ranked()[0]
    assert defaults.note == "the stylizer's defaults" and defaults.params == {"strength": 1.0}
    assert best.record.trial != 0 and best.record.params["strength"] < 1
    assert best.rung.scores["cost"] == pytest.approx(2.5 * best.record.params["strength"])
    preset = tint_job.parent / "tint.json"
    options = {"trial": None, "kind": "preset", "say": lambda _: None, "warn": lambda _: None}
    export_one([results.run.path], preset, **options)
    assert json.loads(preset.read_text())["schema_version"] == 2
    assert isinstance(results.preset(), StylizerPreset)
    pair = results.job.pairs[0]
    out = tint_job.parent / "out.png"
    words = ["--content", results.run.path / pair.content, "--style"]
    words += [results.run.path / pair.style[0].image, "--preset", preset, "--out", out]
    refused = nst_tuner("stylize", *words)
    assert refused.returncode == 2 and "runs code of its own" in refused.stderr
    done = nst_tuner("stylize", *words, "--trust")
    assert done.returncode == 0, done.stderr
    with (
        open_picture(out) as made,
        open_picture(results.run.path / results.run.image(best.record.trial, 0)) as scored,
    ):
        assert np.array_equal(np.asarray(made), np.asarray(scored))
    wrong = nst_tuner("stylize", *words, "--set", "strenght=1")
    assert wrong.returncode == 2 and "did you mean `strength`?" in wrong.stderr
    ours = nst_tuner("stylize", *words, "--gif", tint_job.parent / "a.gif")
    assert ours.returncode == 2 and "--gif" in ours.stderr


def test_a_preset_applies_to_a_folder(tint_job: Path) -> None:
    """Every picture of a folder gets a result; one that fails does not stop the others."""
    results = run(tint_job, "search.trials=2")
    preset, photos, out = (tint_job.parent / name for name in ("tint.json", "photos", "out"))
    options = {"trial": None, "kind": "preset", "say": lambda _: None, "warn": lambda _: None}
    export_one([results.run.path], preset, **options)
    photos.mkdir()
    for name, size in (("a", (64, 48)), ("c", (40, 60))):
        Image.new("RGB", size, "teal").save(photos / f"{name}.png")
    (photos / "b.png").write_bytes(b"no picture")
    style = results.run.path / results.job.pairs[0].style[0].image
    words = ["stylize", "--content", photos, "--style", style, "--preset", preset, "--out", out]
    for _ in range(2):  # the second time, finished results are kept
        done = nst_tuner(*words, "--trust")
        assert done.returncode == 1 and "b.png" in done.stderr, done.stderr
        assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]
    assert "2 of 3 results exist already" in done.stderr


def test_every_view_of_a_run_names_the_defaults(
    tint_job: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Page, comparison, sheet and table show the gain over the stylizer's own defaults."""
    results = run(tint_job, "search.trials=4", "present.size_px=96", "objective=rmse")
    sizes = {results.run.presented(r.record.trial, r.steps, 0) for r in results.ranked()[:1]}
    for file in (*sizes, results.run.presented(0, results.trial_result(0).steps, 0)):
        with open_picture(results.run.path / file) as picture:
            assert max(picture.size) == 96
    page = report_data(results)
    assert "than the stylizer's defaults" in page["headline"]["text"]
    assert page["preset"]["role"] == "stylizer's defaults" and page["preset"]["trial"] == 0
    assert ("strength", f"{results.ranked()[0].config['params']['strength']:.3g}") in (
        page["settings"]
    )
    write_comparison([results, results], results.run.path / "two.html")
    assert "stylizer's defaults" in (results.run.path / "two.html").read_text()
    Console(width=120).print(best_table(results, 3))
    assert "better than the stylizer's defaults" in " ".join(capsys.readouterr().out.split())
    stranger = nst_tuner("render", results.run.path)
    assert stranger.returncode == 2 and "runs code of its own" in stranger.stderr
    done = nst_tuner("render", results.run.path, "--trust", "--size-px", 80)
    assert done.returncode == 0, done.stderr
    assert "rendered the best trial and the defaults at 80 px" in done.stderr


def test_a_stylizer_of_many_steps_stops_early(tint_job: Path) -> None:
    """Trials report at rungs, bad ones stop there, and a preset has the steps of its best rung."""
    overrides = [
        f"stylizer.path={STYLIZERS}:Slow",
        f"space={tint_job.parent / 'slow.yaml'}",
        "halving={min_steps: 3, max_steps: 18, rule: promote}",
    ]
    results = run(tint_job, *overrides)
    reported = {record.trial: sorted(record.rungs) for record in results.records}
    searched = [reported[record.trial] for record in results.records if record.searched]
    assert [3] in searched and [3, 9, 18] in searched
    assert all(steps[0] == 3 for steps in searched)


def test_a_finished_run_is_extended(tint_job: Path) -> None:
    """A run is resumed with more trials, and nothing is repeated."""
    before = run(tint_job)
    resume_run(
        before.run.path,
        InlineBackend(),
        callback=Callback(),
        say=lambda _: None,
        changes=["search.trials=8"],
    )
    after = load_results(before.run.path)
    assert sum(record.searched for record in after.records) == 8
    kept = [record.params for record in after.records[: len(before.records)]]
    assert kept == [record.params for record in before.records]


def test_each_misbehaving_trial_fails_alone(tint_job: Path) -> None:
    """Each kind of mistake ends one trial with its reason; the others go on."""
    ways = ["good", "prints", "hangs", "nothing", "huge", "crash", "worker", "good"]
    huge = tint_job.parent / "huge.png"
    Image.new("1", (20_000, 20_000)).save(huge)
    space = tint_job.parent / "ways.yaml"
    starts = "".join(f"  - {{way: {way}, n: {n}}}\n" for n, way in enumerate(ways))
    options = ", ".join(dict.fromkeys(ways))
    params = f"{{way: {{options: [{options}]}}, n: {{low: 0, high: 99, whole: true}}}}"
    space.write_text(f"name: ways\nwhy: tests\nparams: {params}\nstarts:\n{starts}")
    command = f'[sh, "{AWKWARD}", "{{way}}", "{{content}}", "{{out}}", "{huge}", "{{n}}"]'
    results = run(
        tint_job,
        f"stylizer={{command: {command}, deadline_s: 10}}",
        f"space={space}",
        f"search.trials={len(ways)}",
    )
    records = [record for record in results.records if record.searched]
    states = [record.state for record in records]
    assert states == ["complete", *["failed"] * 6, "complete"]
    reasons = [record.reason or "" for record in records]
    for reason, expected in zip(
        reasons[1:-1],
        (
            "exit code 3; it printed: much text",
            "longer than 10 s",
            "wrote no file {out}",
            "{out}|20000x20000 px",
            "killed by SIGKILL",
            "its process ended by SIGKILL",
        ),
        strict=True,
    ):
        assert any(part in reason for part in expected.split("|")), reason
    assert sleepers() == 0


def test_a_command_is_exported_as_a_command_line(tint_job: Path) -> None:
    """The command of a result is printed with its values, and other formats are refused."""
    space = tint_job.parent / "word.yaml"
    space.write_text("name: w\nwhy: w\nparams: {word: {options: [it's, a b]}}\n")
    results = run(
        tint_job,
        'stylizer={command: [cp, "{content}", "{out}", ["-t", "{word}"]]}'.replace(
            ', ["-t", "{word}"]', ""
        ).replace("cp", 'sh, -c, \'cp "$1" "$2"\', "{word}"'),
        f"space={space}",
        "search.trials=2",
    )
    done = nst_tuner("export", results.run.path, "--format", "command")
    assert done.returncode == 0, done.stderr
    word = results.ranked()[0].record.params["word"]
    assert "result.png" in done.stdout
    assert ("it'\"'\"'s" if word == "it's" else "'a b'") in done.stdout
    script = nst_tuner("export", results.run.path, "--format", "script", "--out", "x.py")
    assert script.returncode == 2 and "for our engine only" in script.stderr


def problems_of(job: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_job(job, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("stylizer.python=a.b:C", "exactly one of python, path, command"),
        ("stylizer={python: a.b}", "expected MODULE:FACTORY"),
        ("stylizer={path: 'a.txt:C'}", "expected the name of a .py file"),
        ("stylizer={command: [cp, '{content}']}", "no argument has the place {out}"),
        ("stylizer={command: [cp, '{content}', '{out}']}", "the parameter `strength` would change"),
        ("space=gram", "expected a file with the parameters of python_stylizers.py:Tint"),
        ("search.presets=true", "the built-in presets are for our engine only"),
        ("resources.lanes=4", "`resources.lanes`: is for our engine only"),
        ("objective={lpips: 1, vram_gb: 1}", "vram_gb is known for our engine only"),
        ("stylizer=null", "space"),
    ],
)
def test_a_wrong_job_says_why(tint_job: Path, override: str, expected: str) -> None:
    """Keys that contradict the stylizer are named, with what to do."""
    assert expected in problems_of(tint_job, override)


def test_keys_of_stylizers_are_refused_without_one(job_file: Path) -> None:
    """Resources and costs of stylizers need a stylizer."""
    found = problems_of(job_file, "resources.cpus_per_worker=2", "constraints={cost: '<= 2'}")
    assert "`resources.cpus_per_worker`: has no effect without `stylizer`" in found
    assert "`constraints`: only a stylizer of your own reports `cost`" in found


def test_a_stylizer_that_cannot_be_loaded_ends_the_launch(tint_job: Path) -> None:
    """Before anything is written, the launch says what is missing."""
    from nst_core.errors import InputError

    with pytest.raises(InputError, match=r"stylizer: .* cannot be loaded: .* has no 'Nothing'"):
        run(tint_job, f"stylizer.path={STYLIZERS}:Nothing")
    assert not (tint_job.parent / "run").exists()


def test_jobs_of_older_versions_have_no_stylizer(job_file: Path) -> None:
    """A job without the key is one of our engine, with the defaults that it always had."""
    job, _ = load_job(job_file)
    assert job.stylizer is None and job.search.presets
    assert JobSpec.model_validate(job.model_dump(by_alias=True)).stylizer is None
