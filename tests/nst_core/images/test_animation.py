from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from nst_core.errors import ImageError
from nst_core.images.animation import HOLD_SECONDS, check_animation_path, save_animation


def fade(count: int) -> list[np.ndarray]:
    """A color gradient that becomes brighter, without noise."""
    across, down = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 48))
    gradient = np.stack([across, (across + down) / 2, 1 - across], axis=-1)
    return [(gradient * (100 + 150 * k / count)).astype(np.uint8) for k in range(count)]


def read(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """The frames of a file as they are seen, and how many milliseconds each is shown."""
    with Image.open(path) as picture:
        shown = [
            (np.asarray(frame.convert("RGB")), int(frame.info["duration"]))
            for frame in ImageSequence.Iterator(picture)
            if frame.load()
        ]
    return [frame for frame, _ in shown], [duration for _, duration in shown]


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_frames_come_back(tmp_path: Path, suffix: str) -> None:
    """All frames are written in order, with similar colors and durations, and repeat."""
    frames = fade(12)
    save_animation(frames, tmp_path / f"a.{suffix}", seconds=2.5)
    found, durations = read(tmp_path / f"a.{suffix}")
    assert len(found) == 12
    for frame, expected in zip(found, frames, strict=True):
        assert np.abs(frame.astype(int) - expected).mean() < 8
    assert sum(durations) == 2500 + HOLD_SECONDS * 1000
    assert durations[-1] >= HOLD_SECONDS * 1000 + 200
    assert set(durations[:-1]) <= {200, 210}
    with Image.open(tmp_path / f"a.{suffix}") as picture:
        assert picture.info["loop"] == 0
    assert len(list(tmp_path.iterdir())) == 1


def test_still_areas_do_not_flicker(tmp_path: Path) -> None:
    """Areas that are equal in all frames are equal in the GIF."""
    frames = fade(10)
    for frame in frames:
        frame[:, :32] = frames[0][:, :32]
    save_animation(frames, tmp_path / "a.gif")
    found, _ = read(tmp_path / "a.gif")
    for frame in found:
        np.testing.assert_array_equal(frame[:, :32], found[0][:, :32])


def test_too_short_frames_are_omitted(tmp_path: Path) -> None:
    """No frame is shorter than 20 ms; first and last frame and the total time are kept."""
    frames = [fade(2)[k % 2] for k in range(120)]
    frames[-1] = 255 - frames[-1]
    save_animation(frames, tmp_path / "a.webp", seconds=1)
    found, durations = read(tmp_path / "a.webp")
    assert len(found) <= 50
    assert min(durations) >= 20
    assert sum(durations) == 1000 + HOLD_SECONDS * 1000
    assert np.abs(found[0].astype(int) - frames[0]).mean() < 5
    assert np.abs(found[-1].astype(int) - frames[-1]).mean() < 5


def test_one_frame_is_enough(tmp_path: Path) -> None:
    """A single frame, or several equal ones, can be written."""
    for count in (1, 3):
        save_animation([fade(1)[0]] * count, tmp_path / "a.gif")
        with Image.open(tmp_path / "a.gif") as picture:
            assert picture.size == (64, 48)


def test_unusable_animations_are_refused(tmp_path: Path) -> None:
    """Other suffixes, missing folders, no frames, and frames of different sizes are refused."""
    for name in ("a.mp4", "nowhere/a.gif", ""):
        with pytest.raises(ImageError):
            check_animation_path(tmp_path / name)
        with pytest.raises(ImageError):
            save_animation(fade(2), tmp_path / name)
    with pytest.raises(ImageError, match=r"\.gif, \.webp"):
        check_animation_path(tmp_path / "a.png")
    for frames in ([], [fade(1)[0], fade(1)[0][1:]]):
        with pytest.raises(ImageError, match="all of the same size"):
            save_animation(frames, tmp_path / "a.gif")
    check_animation_path(tmp_path / "A.GIF")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "width"), [("gif", 66_000), ("webp", 17_000)])
def test_formats_have_a_largest_size(tmp_path: Path, suffix: str, width: int) -> None:
    """Frames larger than the format allows raise an ImageError."""
    frames = [np.full((1, width, 3), level, np.uint8) for level in (0, 90)]
    with pytest.raises(ImageError, match="cannot hold"):
        save_animation(frames, tmp_path / f"a.{suffix}")
    assert not list(tmp_path.iterdir())
