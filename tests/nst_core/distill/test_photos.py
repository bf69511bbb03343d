"""Photos: sample photos, held-out photos, and crops that depend on seed and step only."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nst_core.distill.photos import Crops, Photo, sample_photos, split
from nst_core.errors import ImageError, InputError
from nst_core.images.tensors import load_image, save_image


def plain(value: float) -> Photo:
    """Return a photo of one gray value."""
    return Photo(name=f"{value:.4f}", load=lambda: torch.full((3, 50, 70), value))


def broken(name: str = "broken") -> Photo:
    """Return a photo that cannot be read."""

    def load() -> Tensor:
        raise ImageError(f"{name}: truncated")

    return Photo(name=name, load=load)


def test_sample_photos_are_in_color() -> None:
    """The sample photos of the packages can be read, as pictures with three channels."""
    photos = sample_photos()
    assert len(photos) >= 12
    assert all(photo.load().shape[0] == 3 for photo in photos)
    training, held_out = split(photos)
    assert [photo.name for photo in held_out] == ["chelsea", "coffee"]
    assert not {p.name for p in training} & {"chelsea", "coffee"}


def test_held_out_photos_are_not_trained_on() -> None:
    """A tenth of the photos, at least one and at most eight, is held out; the seed chooses them."""
    photos = [plain(index / 200) for index in range(200)]
    training, held_out = split(photos, seed=1)
    names = [{photo.name for photo in part} for part in (training, held_out)]
    assert len(names[1]) == 8 and len(names[0]) == 192 and not names[0] & names[1]
    assert {p.name for p in split(photos, seed=2)[1]} != names[1]
    assert len(split(photos[:2])[1]) == 1
    with pytest.raises(InputError, match="at least 2"):
        split(photos[:1])


def test_batches_depend_on_seed_and_step_only() -> None:
    """A resumed training gets the batches that it would have had."""
    photos = sample_photos()[:3]
    first, second = Crops(photos, 32, seed=4), Crops(photos, 32, seed=4)
    expected = [first.batch(step, 2) for step in range(3)]
    assert torch.equal(second.batch(2, 2), expected[2])
    assert not torch.equal(expected[0], expected[1])
    assert not torch.equal(Crops(photos, 32, seed=5).batch(0, 2), expected[0])


def test_an_epoch_has_every_photo_once() -> None:
    """All photos are used equally often, and each crop is a square of the size asked for."""
    photos = [plain(index / 8) for index in range(8)]
    crops = Crops(photos, 32, augment=False)
    values = torch.cat([crops.batch(step, 4).mean(dim=(1, 2, 3)) for step in range(2)])
    assert crops.batch(0, 4).shape == (4, 3, 32, 32)
    assert torch.allclose(values.sort().values, torch.arange(8) / 8, atol=0.01)


def test_crops_have_the_shapes_of_photos() -> None:
    """Crops are squares or have sides of 4:3, the longer one as asked for; a step has one shape."""
    crops = Crops([plain(0.5)], 64)
    shapes = {crops.batch(step, 2).shape[1:] for step in range(20)}
    assert shapes == {(3, 64, 64), (3, 48, 64), (3, 64, 48)}


def test_half_of_the_crops_get_other_colors() -> None:
    """Colors change within [0, 1], for about half of the crops."""
    crops = Crops([plain(0.25)], 32)
    changed = [
        not torch.allclose(crops.batch(step, 1), torch.tensor(0.25), atol=0.01)
        for step in range(60)
    ]
    assert 15 < sum(changed) < 45
    assert all(0 <= float(crops.batch(step, 1).max()) <= 1 for step in range(9))


def test_without_augmentation_crops_are_central() -> None:
    """--no-augment gives the central square of each photo, the same in every epoch."""
    crops = Crops(sample_photos()[:1], 32, augment=False)
    assert torch.equal(crops.batch(0, 1), crops.batch(1, 1))


def test_unreadable_photos_are_left_out_once() -> None:
    """An unreadable photo is named once and replaced by the next; without any, an error says so."""
    lines: list[str] = []
    crops = Crops([broken(), plain(0.5)], 32, say=lines.append)
    for step in range(3):
        assert crops.batch(step, 2).shape == (2, 3, 32, 32)
    assert lines == ["left out: broken: truncated"]
    with pytest.raises(ImageError, match="none of 1 photos"):
        Crops([broken()], 32).batch(0, 1)


def test_little_memory_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos that do not fit into memory are read again."""
    reads: list[int] = []

    def photo(index: int) -> Photo:
        path = tmp_path / f"{index}.png"
        save_image(torch.rand(3, 40, 40), path)
        loader: Callable[[], Tensor] = lambda: (reads.append(index), load_image(path))[1]  # noqa: E731
        return Photo(name=path.name, load=loader)

    photos = [photo(index) for index in range(4)]
    expected = [Crops(photos, 32).batch(step, 4) for step in range(2)]
    monkeypatch.setattr("nst_core.distill.photos._MAX_BYTES", 10_000)
    crops = Crops(photos, 32)
    reads.clear()
    assert all(torch.equal(crops.batch(step, 4), expected[step]) for step in range(2))
    assert len(reads) > 4
