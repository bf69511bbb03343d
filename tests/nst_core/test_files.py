"""Reading and writing files."""

from pathlib import Path

import pytest

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError, PresetError
from nst_core.files import check_can_write, foreign_path, write_atomic
from nst_core.presets.built_in import load_preset
from nst_core.presets.preset import Preset
from tuner.job.yaml_file import read_yaml

TEXT = Preset(name="x", config=StyleConfig()).to_json()


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    """Presets and YAML files that Notepad or PowerShell saved as UTF-8 are read."""
    (tmp_path / "p.json").write_text(TEXT, encoding="utf-8-sig")
    (tmp_path / "j.yaml").write_text("name: x\n", encoding="utf-8-sig")
    assert load_preset(str(tmp_path / "p.json")).name == "x"
    assert read_yaml(tmp_path / "j.yaml").data == {"name": "x"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str) -> None:
    """A file in UTF-16 or Latin-1 is refused with the advice to save it as UTF-8."""
    mark = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(encoding, "")
    content = f"{mark}name: é".encode(encoding)
    (tmp_path / "p.json").write_bytes(content)
    expected = "UTF-16" if encoding.startswith("utf-16") else "not a text file in UTF-8"
    with pytest.raises(PresetError, match=expected):
        load_preset(str(tmp_path / "p.json"))
    with pytest.raises(ConfigError, match=expected):
        read_yaml(tmp_path / "p.json")


def test_a_name_of_the_greatest_length_is_written(tmp_path: Path) -> None:
    """The temporary file's name is short for any file name."""
    path = tmp_path / ("n" * 255)
    check_can_write(path, 1000)
    assert not list(tmp_path.iterdir())
    write_atomic(path, b"x")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_write_is_tried_without_a_trace(tmp_path: Path) -> None:
    """A too long name, a missing folder and a full disk raise an error; the old file is kept."""
    (tmp_path / "kept").write_text("kept")
    check_can_write(tmp_path / "kept", 10)
    for path, size in ((tmp_path / ("n" * 256), 0), (tmp_path / "no" / "o", 0)):
        with pytest.raises(OSError, match=r"too long|No such file"):
            check_can_write(path, size)
    with pytest.raises(OSError, match="No space left"):
        check_can_write(tmp_path / "o", 10**18)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["kept"]


def test_paths_of_windows_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows paths are recognized, except if a file with such a name exists."""
    monkeypatch.chdir(tmp_path)
    assert "/mnt/d/x/y.png" in str(foreign_path(r"D:\x\y.png"))
    assert "write a/b.png" in str(foreign_path(r"a\b.png"))
    assert foreign_path("a/b.png") is None
    Path(r"a\b.png").touch()
    assert foreign_path(r"a\b.png") is None
