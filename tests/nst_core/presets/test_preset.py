import json
from pathlib import Path

import pytest

from nst_core.errors import ConfigError, PresetError
from nst_core.presets.built_in import BUILT_IN, load_preset, runnable
from nst_core.presets.preset import STYLIZER_VERSION, Preset


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_built_in_presets_run_anywhere(name: str) -> None:
    """Every built-in preset has a provenance and can run on VGG16."""
    preset = load_preset(name)
    assert preset.provenance["published"]
    substitute, note = runnable(preset, lambda network: False)
    assert substitute.config.extractor == "vgg16"
    assert (note is None) == (preset.config.extractor == "vgg16")
    assert runnable(preset, lambda network: True, half=True) == (preset, None)


def test_files_round_trip(tmp_path: Path) -> None:
    """A preset is equal after saving and loading."""
    preset = BUILT_IN["tv-amp"]
    preset.save(tmp_path / "p.json")
    assert load_preset(str(tmp_path / "p.json")) == preset


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema_version": STYLIZER_VERSION + 1}, "newer than this program"),
        ({"schema_version": "1"}, "schema_version"),
        ({"schema_version": None}, "schema_version"),
        ({"provenance": []}, "provenance"),
    ],
)
def test_bad_presets_say_why(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    """A preset with a newer or no schema version is refused with the reason."""
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**json.loads(BUILT_IN["tv-amp"].to_json()), **change}))
    with pytest.raises(PresetError, match=expected):
        load_preset(str(path))


@pytest.mark.parametrize("text", ["", "[]", "nonsense", "{}", '{"config": 1}', "[" * 100_000])
def test_what_is_no_preset_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is no preset is refused; an unknown name gets a suggestion."""
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises((PresetError, ConfigError)):
        load_preset(str(path))
    with pytest.raises(PresetError, match="did you mean `adam-1000`"):
        load_preset("adam-100")


def test_published_numbers_stand() -> None:
    """The presets have the numbers of the reports."""
    layered = BUILT_IN["layered-2000"].config
    assert list(layered.style_layers.values()) == [1.0, 0.8, 0.4, 0.2, 0.1]
    assert (layered.content_weight, layered.style_weight, layered.lr) == (5, 1e9, 0.001)
    assert BUILT_IN["tv-amp"].config.lr * 255 == pytest.approx(5)
    assert Preset.from_json(BUILT_IN["adam-1000"].to_json(), "x").config.steps == 1000
