"""YAML files: lines of keys, scalars of YAML 1.2, refused constructs, and writing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst_core.errors import ConfigError
from tuner.job.yaml_file import parse_yaml, read_yaml, set_key, yaml_text


def test_lines_of_keys() -> None:
    """Every key has its line, also in lists and flow mappings."""
    file = parse_yaml("a: 1\nb:\n  - {c: 2,\n     d: 3}\n", "x")
    assert file.where(("a",)) == "line 1: "
    assert file.where(("b", 0, "d")) == "line 4: "
    assert file.where(("b", 0, "missing")) == "line 3: "
    assert file.where(("z",)) == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e4", 1e4),
        ("1e-9", 1e-9),
        ("-2.5E+3", -2500.0),
        (".5", 0.5),
        ("08", 8),
        ("0x1F", 31),
        ("0o17", 15),
        ("on", "on"),
        ("no", "no"),
        ("true", True),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("", None),
        ("~", None),
        ("1_000", 1000),
        ("017", 17),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00"),
        (".inf", float("inf")),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """Scalars follow YAML 1.2: `1e4` is a number, `on` is text; dates stay text."""
    found = parse_yaml(f"a: {text}", "x").data["a"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", "line 2: `a` appears twice, first in line 1"),
        ("a: &x [1]\nb: *x", r"line 2: aliases \(`\*x`\) are not supported"),
        ("a: &x\n  b: 1\nc:\n  - 1\n  - <<: *x\n", r"line 5: aliases \(`\*x`\)"),
        ("a: &x 1\nb: *x\nb: 2", "line 2: aliases"),
        ("a: [1", "line 1"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML"),
        ("? [a]\n: 1", "expected a word as key"),
        ("\tx: 1", "line 1"),
        ("[" * 5000, "nested too deeply|not YAML"),
        ("--- 1\n--- 2", "not YAML"),
    ],
)
def test_bad_files_say_where(text: str, expected: str) -> None:
    """Duplicate keys, aliases, tags and broken syntax are refused, with the line."""
    with pytest.raises(ConfigError, match=expected):
        parse_yaml(text, "x")


@given(st.text(alphabet="ab:-[]{}!&*?|>'\"# \n\t0", max_size=40))
def test_any_text_is_yaml_or_a_config_error(text: str) -> None:
    """Any text is either parsed or refused with a ConfigError."""
    try:
        parse_yaml(text, "x")
    except ConfigError as error:
        assert error.problems


def test_unreadable_files(tmp_path: Path) -> None:
    """Errors for missing, binary and oversized files, and for folders, name the path."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large").write_text("a: 1\n" + "#" * 1_100_000)
    for name in ("missing", "binary", "large", ""):
        with pytest.raises(ConfigError, match=str(tmp_path / name)):
            read_yaml(tmp_path / name)


def test_set_key() -> None:
    """Overrides set values in mappings and lists, and are refused where there are no keys."""
    data = {"a": {"b": 1}, "p": [{"q": 2}]}
    set_key(data, "a.b=3")
    set_key(data, "p.0.q=[1, x]")
    set_key(data, "n.m=1.5")
    assert data == {"a": {"b": 3}, "p": [{"q": [1, "x"]}], "n": {"m": 1.5}}
    for wrong in ("a.b.c=1", "p.7.q=1", "p.x=1", "novalue", "=1"):
        with pytest.raises(ConfigError):
            set_key(data, wrong)


@pytest.mark.parametrize(
    "value",
    [
        *("7e10523", "1e3", "0o17", ".5e3", "on", "no", "0x1f", "null", "~", "", "1_000", ".inf"),
        *("2026-01-02", "12:30:00", "é", "a: b", 1e-5, 1e300, 3, True, None, [], {}),
    ],
)
def test_written_values_are_read_back(value: object) -> None:
    """Written values are read back; text that looks like a number stays text."""
    content = {"name": value, "list": [value]}
    assert parse_yaml(yaml_text(content), "x").data == content


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=12))
def test_any_text_is_read_back(text: str) -> None:
    """Any name of a job is read back."""
    assert parse_yaml(yaml_text({"name": text}), "x").data == {"name": text}
