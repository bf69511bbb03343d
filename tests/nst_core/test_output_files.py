"""Output files: which may be replaced, and checks before the work."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.support.made_run import made_run
from nst_core.config import StyleConfig
from nst_core.errors import InputError, WorkError
from nst_core.images.encode import MADE_BY, encode
from nst_core.output_files import check_outputs, check_space, save_elsewhere
from nst_core.presets.preset import Preset
from tests.tuner.disks import SmallDisk
from tests.tuner.helpers import nst_tuner

ALIASES: dict[str, Callable[[Path, Path], object]] = {
    "the file itself": lambda file, other: None,
    "a symbolic link": lambda file, other: other.symlink_to(file),
    "a hard link": os.link,
}


def refused(outputs: list[tuple[str, Path]], inputs: list[Path], *, force: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        check_outputs(outputs, inputs, force=force, say=lambda _: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("force", [False, True])
def test_an_input_is_never_replaced(tmp_path: Path, alias: str, force: bool) -> None:
    """An input is never an output, under any name or link, even with --force."""
    file, other = tmp_path / "photo.jpg", tmp_path / "other.jpg"
    file.write_text("made by nst-tuner")
    ALIASES[alias](file, other)
    named = other if other.exists() else tmp_path / "." / ".." / tmp_path.name / "photo.jpg"
    assert "which is never replaced" in refused([("--out", named)], [file], force=force)


def test_a_file_of_a_folder_that_is_read_is_never_replaced(tmp_path: Path) -> None:
    """Existing files of a run directory are inputs, also through links; new files are allowed."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "job.yaml").write_text("name: x")
    os.link(run / "job.yaml", tmp_path / "linked.yaml")
    for out in (run / "job.yaml", tmp_path / "linked.yaml"):
        assert "which is never replaced" in refused([("--out", out)], [run], force=True)
    check_outputs([("--out", run / "new.json")], [run], force=False, say=print)


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    """Two options of one command may not name the same file."""
    (tmp_path / "link.gif").symlink_to(tmp_path / "a.gif")
    for other in (tmp_path / "x" / ".." / "a.gif", tmp_path / "link.gif"):
        (tmp_path / "x").mkdir(exist_ok=True)
        assert "is the same file as --out" in refused(
            [("--out", tmp_path / "a.gif"), ("--gif", other)], []
        )


def test_only_results_are_replaced_without_force(tmp_path: Path) -> None:
    """Other files need --force; an earlier result and an empty file are replaced."""
    theirs, ours, empty = (tmp_path / name for name in ("theirs.png", "ours.png", "empty.png"))
    theirs.write_bytes(b"an original" * 99_999)
    ours.write_bytes(b"x" * 10**6 + MADE_BY.encode())
    empty.touch()
    assert "add --force" in refused([("--out", theirs)], [])
    for path, force in ((theirs, True), (ours, False), (empty, False)):
        said: list[str] = []
        check_outputs([("--out", path)], [], force=force, say=said.append)
        assert said == [f"{path}: replaces the existing file"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_every_result_says_what_made_it(tmp_path: Path, pictures: Path, suffix: str) -> None:
    """Result, animation and graph of every format may be replaced by the next run of a command."""
    plot = {".jpg": ".svg", ".webp": ".pdf"}.get(suffix, ".png")
    command = [
        *("stylize", "--content", pictures / "content.png", "--style", pictures / "style.png"),
        *("--set", "steps=2", "--size-px", 48, "--out", tmp_path / f"o{suffix}"),
        *("--gif", tmp_path / ("film.webp" if suffix == ".webp" else "film.gif")),
        *("--plot", tmp_path / f"losses{plot}"),
        *(["--bits", 16] if suffix == ".tiff" else []),
    ]
    assert nst_tuner(*command).returncode == 0
    again = nst_tuner(*command)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("replaces the existing file") == 3


def test_the_photo_is_kept(tmp_path: Path, pictures: Path) -> None:
    """No output option of stylize and reference may name a file that the command reads."""
    for name in ("content.png", "style.png", "reference.png"):
        shutil.copy(pictures / name, tmp_path / name)
    shutil.copy(pictures / "content.png", tmp_path / "o-00001.png")
    (tmp_path / "p.json").write_text(Preset(name="x", config=StyleConfig(steps=2)).to_json())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    base = ["--content", tmp_path / "content.png", "--style", tmp_path / "style.png", "--force"]
    quick, out = ["--set", "steps=2", "--size-px", 48], tmp_path / "o.png"
    start, frame = tmp_path / "reference.png", tmp_path / "o-00001.png"
    commands = [
        ["stylize", *base, *quick, "--out", tmp_path / "content.png"],
        ["stylize", *base, *quick, "--out", tmp_path / "style.png"],
        ["stylize", *base, *quick, "--out", start, "--start", start],
        ["stylize", *base, *quick, "--out", out, "--plot", tmp_path / "content.png"],
        ["stylize", *base, *quick, "--out", out, "--plot", out],
        ["reference", *base, "--out", tmp_path / "content.png"],
        ["reference", *base, "--out", tmp_path / "style.png"],
        ["stylize", "--content", frame, *base[2:], *quick, "--out", out, "--every", 1],
    ]
    for command in commands:
        done = nst_tuner(*command)
        assert done.returncode == 2, (command, done.stderr)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_files_of_others_are_kept(tmp_path: Path, pictures: Path) -> None:
    """Every command that writes one file refuses to replace a file that nst-tuner did not make."""
    run = made_run(tmp_path / "run", pictures, trials=4, presets=0)
    theirs = tmp_path / "theirs.png"
    Image.new("RGB", (64, 64), "red").save(theirs)
    before = theirs.read_bytes()
    pair = ["--content", pictures / "content.png", "--style", pictures / "style.png"]
    commands = [
        ["stylize", *pair, "--set", "steps=2", "--out", theirs],
        ["reference", *pair, "--out", theirs],
        ["export", run, "--out", theirs],
        ["export", run, "--format", "script", "--out", theirs],
        ["report", run, "--out", theirs],
        ["prefer", run, "--job", theirs],
        ["export", run, "--out", run / "job.yaml"],
        ["report", run, "--out", run / "study.journal"],
    ]
    kept = (run / "job.yaml").read_bytes()
    for command in commands:
        done = nst_tuner(*command)
        assert done.returncode == 2, (command, done.stderr)
        assert "--force" in done.stderr or "never replaced" in done.stderr
    assert theirs.read_bytes() == before and (run / "job.yaml").read_bytes() == kept
    for _ in range(2):
        done = nst_tuner("export", run, "--out", tmp_path / "preset.json")
        assert done.returncode == 0, done.stderr
    assert "replaces the existing file" in done.stderr
    assert nst_tuner("export", run, "--out", theirs, "--force").returncode == 0


def test_a_folders_results_are_kept(tmp_path: Path, pictures: Path) -> None:
    """A file of another program stops a folder; --force replaces it, but never a style image."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    shutil.copy(pictures / "content.png", folder / "a.png")
    shutil.copy(pictures / "style.png", out / "a.png")
    base = ["stylize", "--content", folder, "--set", "steps=1", "--size-px", 48, "--out", out]
    assert nst_tuner(*base, "--style", pictures / "style.png").returncode == 2
    done = nst_tuner(*base, "--style", out / "a.png", "--force")
    assert done.returncode == 2 and "never replaced" in done.stderr
    done = nst_tuner(*base, "--style", pictures / "style.png", "--force")
    assert done.returncode == 0 and "replaces the existing file" in done.stderr


@pytest.mark.parametrize("option", ["--out", "--gif", "--plot"])
@pytest.mark.parametrize(
    "name",
    [
        "n" * 252 + "{}",
        "missing/o{}",
        "folder{}",
        "o.xyz",
        r"results\o{}",
        r"C:\results\o{}",
    ],
)
def test_an_output_is_tried_before_the_first_step(
    tmp_path: Path, pictures: Path, option: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output that cannot be written is refused in one line before the first step."""
    monkeypatch.chdir(tmp_path)
    suffix = {"--out": ".png", "--gif": ".gif", "--plot": ".svg"}[option]
    (tmp_path / f"folder{suffix}").mkdir()
    outputs = {"--out": "fine.png", option: name.format(suffix)}
    done = nst_tuner(
        *("stylize", "--content", pictures / "content.png", "--style", pictures / "style.png"),
        *("--set", "steps=2", "--size-px", 48),
        *(word for pair in outputs.items() for word in pair),
    )
    assert done.returncode == 2, done.stderr
    assert "100%" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == [f"folder{suffix}"]


def test_the_longest_name_is_written(tmp_path: Path, pictures: Path) -> None:
    """A file name of 255 bytes works; frames with longer names are refused before the work."""
    out = tmp_path / f"{'n' * 251}.png"
    command = [
        *("stylize", "--content", pictures / "content.png", "--style", pictures / "style.png"),
        *("--set", "steps=2", "--size-px", 48, "--out", out),
    ]
    done = nst_tuner(*command, "--every", 1)
    assert done.returncode == 2 and "too long" in done.stderr
    assert nst_tuner(*command).returncode == 0 and out.is_file()


def test_frames_are_announced(tmp_path: Path, pictures: Path) -> None:
    """--every says before the run how many frames there will be, and their names."""
    command = [
        *("stylize", "--content", pictures / "content.png", "--style", pictures / "style.png"),
        *("--set", "steps=5", "--size-px", 48, "--out", tmp_path / "o.png"),
    ]
    done = nst_tuner(*command, "--every", 2)
    assert f"2 frames, {tmp_path / 'o-00002.png'} to o-00004.png" in done.stderr
    done = nst_tuner(*command, "--every", 5)
    assert done.returncode == 2 and "expected fewer than the 5 steps" in done.stderr


def test_a_result_that_cannot_be_written_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If writing fails at the end, one line names the other place of the result."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(WorkError, match=r"cannot be written .*; the result was saved as") as caught:
        save_elsewhere(tmp_path / "gone" / "o.png", b"result")
    kept = Path(str(caught.value).partition("saved as ")[2].partition(" instead")[0])
    assert kept.read_bytes() == b"result" and kept.name == "o.png"


def test_a_disk_without_room_is_named(tmp_path: Path, pictures: Path) -> None:
    """Too little disk space is refused before the work, with the needed and free space."""
    with pytest.raises(InputError, match=r"are needed, but only .* MB are free"):
        check_space(tmp_path / "not" / "yet", 10**18)


def test_a_full_disk_is_named_before_the_first_step(small_disk: SmallDisk, pictures: Path) -> None:
    """A full disk gives one line and exit code 2 before the first step."""
    (small_disk.path / "ballast").write_bytes(bytes(2**20 - 8192))
    done = nst_tuner(
        *("stylize", "--content", pictures / "content.png", "--style", pictures / "style.png"),
        *("--set", "steps=2", "--size-px", 96, "--out", small_disk.path / "o.png"),
    )
    assert done.returncode == 2 and "No space left" in done.stderr
    assert "100%" not in done.stderr


def test_pixels_of_a_result_are_those_of_the_file(tmp_path: Path) -> None:
    """The mark of a result changes no pixel."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    for suffix in (".png", ".webp", ".tiff", ".jpg"):
        (tmp_path / f"o{suffix}").write_bytes(encode(Path(f"o{suffix}"), pixels, {"k": "v"}))
        with Image.open(tmp_path / f"o{suffix}") as image:
            assert np.asarray(image).max() == 0
