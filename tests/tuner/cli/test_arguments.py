"""Paths with ``~`` work wherever a path comes in."""

from pathlib import Path

import pytest

from benchmarks.support.made_run import made_run
from nst_core.config import StyleConfig
from nst_core.errors import RunError
from nst_core.presets.built_in import load_preset
from nst_core.presets.preset import Preset
from tests.tuner.helpers import nst_tuner
from tuner import load_run
from tuner.cli.arguments import with_home
from tuner.job.load import load_job


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_every_path_of_a_word_is_expanded(home: Path) -> None:
    """``--out=~/x``, ``NAME=~/x``, masks and plain words; nothing else that has a tilde."""
    words = ["~/a", "--out=~/a", "vgg16=~/a", "~/a:2@~/m@~/p"]
    expanded = [f"{home}/a", f"--out={home}/a", f"vgg16={home}/a"]
    assert with_home(words) == [*expanded, f"{home}/a:2@{home}/m@{home}/p"]
    for word in ("style_blend=~", "a~/b", "PROGRA~1", "~", "--set=x=~", "~nobody-of-this-name/a"):
        assert with_home([word]) == [word]


def test_a_home_folder_that_is_not_there_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home folder of that user the word stays as it is."""
    assert with_home(["--out=~no-such-user/o.png"]) == ["--out=~no-such-user/o.png"]


def test_commands_take_home_folders(home: Path, pictures: Path) -> None:
    """--out, --run and arguments of a command take ``~/`` though no shell expanded it."""
    made_run(home / "run", pictures, trials=4, presets=0)
    done = nst_tuner("export", "~/run", "--out=~/p.json")
    assert done.returncode == 0, done.stderr
    assert (home / "p.json").is_file()
    assert nst_tuner("presets", "~/p.json").returncode == 0


def test_the_library_takes_home_folders(home: Path, job_file: Path) -> None:
    """load_run, load_preset and the keys of a job take ``~/`` as the command line does."""
    with pytest.raises(RunError, match=f"{home}/runs/cafe"):
        load_run("~/runs/cafe")
    (home / "p.json").write_text(Preset(name="x", config=StyleConfig()).to_json())
    assert load_preset("~/p.json").name == "x"
    job, _ = load_job(job_file, ["storage=~/mirror", "search.study=sqlite:///~/s.db"])
    assert job.storage == f"{home}/mirror" and job.search.study == f"sqlite:///{home}/s.db"


@pytest.mark.parametrize("option", ["--content", "--style", "--preset", "--start"])
def test_paths_of_windows_are_named(option: str, pictures: Path, tmp_path: Path) -> None:
    """A path of Windows on another system is one line that says how to write it here."""
    given = {
        "--content": pictures / "content.png",
        "--style": pictures / "style.png",
        "--preset": "adam-1000",
        "--start": pictures / "reference.png",
        option: r"C:\photos\cat.png",
    }
    words = [word for pair in given.items() for word in pair]
    done = nst_tuner("stylize", *words, "--size-px", 48, "--out", tmp_path / "o.png")
    assert done.returncode == 2 and "/mnt/c/photos/cat.png" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
