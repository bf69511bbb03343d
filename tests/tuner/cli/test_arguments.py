"""Paths with ``~`` and paths of Windows, in every command and in the library."""

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
    """A new home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_every_path_of_an_argument_is_expanded(home: Path) -> None:
    """``~/`` is expanded in ``--out=~/x``, ``NAME=~/x``, masks and paths, but nowhere else."""
    arguments = ["~/a", "--out=~/a", "vgg16=~/a", "~/a:2@~/m@~/p"]
    expanded = [f"{home}/a", f"--out={home}/a", f"vgg16={home}/a"]
    assert with_home(arguments) == [*expanded, f"{home}/a:2@{home}/m@{home}/p"]
    for argument in (
        "style_blend=~",
        "a~/b",
        "PROGRA~1",
        "~",
        "--set=x=~",
        "~nobody-of-this-name/a",
    ):
        assert with_home([argument]) == [argument]


def test_an_unknown_user_leaves_the_path_as_it_is() -> None:
    """``~name/`` stays as it is if there is no such user."""
    assert with_home(["--out=~no-such-user/o.png"]) == ["--out=~no-such-user/o.png"]


def test_commands_expand_home_folders(home: Path, pictures: Path) -> None:
    """Options and arguments of a command accept ``~/`` that no shell has expanded."""
    made_run(home / "run", pictures, trials=4, presets=0)
    done = nst_tuner("export", "~/run", "--out=~/p.json")
    assert done.returncode == 0, done.stderr
    assert (home / "p.json").is_file()
    assert nst_tuner("presets", "~/p.json").returncode == 0


def test_the_library_expands_home_folders(home: Path, job_file: Path) -> None:
    """load_run, load_preset and the keys of a job accept ``~/``, as the command line does."""
    with pytest.raises(RunError, match=f"{home}/runs/cafe"):
        load_run("~/runs/cafe")
    (home / "p.json").write_text(Preset(name="x", config=StyleConfig()).to_json())
    assert load_preset("~/p.json").name == "x"
    job, _ = load_job(job_file, ["storage=~/mirror", "search.study=sqlite:///~/s.db"])
    assert job.storage == f"{home}/mirror" and job.search.study == f"sqlite:///{home}/s.db"


@pytest.mark.parametrize("option", ["--content", "--style", "--preset", "--start"])
def test_windows_paths_are_refused_with_their_name_in_wsl(
    option: str, pictures: Path, tmp_path: Path
) -> None:
    """A Windows path is refused, in at most two lines, with the way to write it in WSL."""
    options = {
        "--content": pictures / "content.png",
        "--style": pictures / "style.png",
        "--preset": "adam-1000",
        "--start": pictures / "reference.png",
        option: r"C:\photos\cat.png",
    }
    arguments = [word for pair in options.items() for word in pair]
    done = nst_tuner("stylize", *arguments, "--size-px", 48, "--out", tmp_path / "o.png")
    assert done.returncode == 2 and "/mnt/c/photos/cat.png" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
