"""Photos: training pictures of a folder or of installed packages, as random crops.

A batch is a function of the seed and of the number of its step, so an interrupted training
continues with the batches that it would have had.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nst_core.config import MIN_SIDE_PX
from nst_core.errors import ImageError, InputError, Say
from nst_core.images.tensors import from_uint8, load_image, resize, to_levels

#: Name of the photos of installed packages, instead of a folder.
SAMPLES = "samples"

#: Fewer photos than this are enough for an experiment, but not for a network that is used.
RECOMMENDED_PHOTOS = 200

#: Height and width of the pictures of a batch, relative to their size. A whole photo of 4:3 is then
#: seen as it is stylized later: with its longer side at the size of the training.
_SHAPES = ((1.0, 1.0), (0.75, 1.0), (1.0, 0.75))

#: Least side of a random crop, relative to the largest one of its shape in the photo.
_LEAST_CROP = 0.5

#: Share of the crops whose colors are changed, the largest base-2 logarithm of their gammas, and
#: the range of their saturation. Short trainings with larger changes, such as channels in random
#: order, were no better on held-out photos.
_RECOLORED, _MOST_GAMMA, _SATURATION = 0.5, 0.6, (0.3, 1.5)

#: Factor between the shorter side of a photo in memory and the size of crops: enough for a crop of
#: half the photo without a loss of detail.
_KEPT_SCALE = 2

#: Memory for decoded photos; further ones are decoded again each time.
_MAX_BYTES = 2 * 2**30

#: Photos of scikit-image in the public domain or under CC0; gray ones become RGB.
_SKIMAGE = (
    *("astronaut", "brick", "camera", "chelsea", "clock", "coffee", "coins", "grass", "gravel"),
    *("hubble_deep_field", "retina", "rocket"),
)
#: A photo of matplotlib in the public domain (United States Navy).
_MATPLOTLIB = "mpl-data/sample_data/grace_hopper.jpg"
#: Sample photos that are held out by default: an animal and an object, in color.
_HELD_OUT_SAMPLES = ("chelsea", "coffee")


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A photo that is read when it is needed.

    Attributes:
        name: name of the photo in messages and tables.
        load: returns image_3HW, float32 in [0, 1].
    """

    name: str
    load: Callable[[], Tensor]

    @classmethod
    def from_file(cls, path: Path) -> Photo:
        """Return the photo of a file, which is not read yet."""
        return cls(name=path.name, load=lambda: load_image(path))


def sample_photos() -> list[Photo]:
    """Return photos with free licenses that scikit-image and matplotlib carry, by name."""
    photos = [Photo(name=name, load=_skimage_loader(name)) for name in _SKIMAGE]
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / _MATPLOTLIB
        if path.is_file():  # some distributions leave the sample data out
            photos.append(Photo(name="grace_hopper", load=lambda: load_image(path)))
    return photos


def _skimage_loader(name: str) -> Callable[[], Tensor]:
    def load() -> Tensor:
        import skimage.data

        pixels = np.asarray(getattr(skimage.data, name)())
        rgb = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
        return from_uint8(rgb)

    return load


def split(photos: Sequence[Photo], *, seed: int = 0) -> tuple[list[Photo], list[Photo]]:
    """Split photos into those to train on and those to measure on: a tenth of them, 1 to 8.

    Args:
        photos: at least two photos.
        seed: seed of the choice. The samples have a fixed choice.

    Raises:
        InputError: there are too few photos.
    """
    if len(photos) < 2:
        raise InputError(
            f"{len(photos)} photos: expected at least 2, one to train on and one to measure on;"
            f" add photos, or use `{SAMPLES}`"
        )
    count = min(8, max(1, len(photos) // 10))
    names = [photo.name for photo in photos]
    if set(_HELD_OUT_SAMPLES) <= set(names):
        chosen = {names.index(name) for name in _HELD_OUT_SAMPLES}
    else:
        order = np.random.default_rng([seed, len(photos)]).permutation(len(photos))
        chosen = {int(index) for index in order[:count]}
    training = [photo for index, photo in enumerate(photos) if index not in chosen]
    return training, [photos[index] for index in sorted(chosen)]


class Crops:
    """Random crops of photos.

    Args:
        photos: photos to train on.
        size_px: longer side of a crop in pixels.
        seed: seed of choice, place, size and shape of crops.
        augment: crop at random places, sizes and shapes, flip half of the crops, and change the
            colors of half; False: the central square of each photo.
        say: gets a line about each photo that cannot be read, once.
    """

    def __init__(
        self,
        photos: Iterable[Photo],
        size_px: int,
        *,
        seed: int = 0,
        augment: bool = True,
        say: Say = lambda _: None,
    ):
        self._photos = list(photos)
        self._size_px, self._seed, self._augment, self._say = size_px, seed, augment, say
        self._kept: OrderedDict[int, Tensor] = OrderedDict()
        self._bytes = 0
        self._unreadable: set[int] = set()

    def batch(self, step: int, count: int) -> Tensor:
        """Return the crops of a step, image_N3HW, float32 in [0, 1] on the CPU.

        All crops of a step have one shape.

        Raises:
            ImageError: no photo can be read.
        """
        rng = np.random.default_rng([self._seed, step])
        shape = _SHAPES[int(rng.integers(len(_SHAPES)))] if self._augment else (1.0, 1.0)
        least = min(self._size_px, MIN_SIDE_PX)
        height, width = (max(least, round(share * self._size_px)) for share in shape)
        # Without repetition within an epoch of random order, so that every photo counts alike.
        places = range(step * count, (step + 1) * count)
        return torch.stack([self._crop(self._photo(place), height, width, rng) for place in places])

    @property
    def identity(self) -> str:
        """Digest of the photos' names."""
        names = "\n".join(photo.name for photo in self._photos)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def _photo(self, place: int) -> Tensor:
        """Return the photo at a place of the endless sequence; the next one if it is unreadable."""
        total = len(self._photos)
        for offset in range(total):
            epoch, index = divmod(place + offset, total)
            order = np.random.default_rng([self._seed, 1, epoch]).permutation(total)
            photo = self._decoded(int(order[index]))
            if photo is not None:
                return photo
        raise ImageError(
            f"none of {total} photos can be read; name another folder with --photos, or"
            f" use `{SAMPLES}`"
        )

    def _decoded(self, index: int) -> Tensor | None:
        """Return pixels_3HW, uint8, of a photo; None if it cannot be read."""
        if index in self._unreadable:
            return None
        if index not in self._kept:
            photo = self._photos[index]
            try:
                image = photo.load()
            except ImageError as error:
                self._unreadable.add(index)
                self._say(f"left out: {error}")
                return None
            self._keep(index, to_levels(self._reduced(image)).permute(2, 0, 1).contiguous())
        self._kept.move_to_end(index)
        return self._kept[index]

    def _keep(self, index: int, pixels: Tensor) -> None:
        self._kept[index] = pixels
        self._bytes += pixels.nbytes
        while self._bytes > _MAX_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def _reduced(self, image_3HW: Tensor) -> Tensor:
        height, width = image_3HW.shape[1:]
        scale = _KEPT_SCALE * self._size_px / min(height, width)
        if scale >= 1:
            return image_3HW
        return resize(image_3HW, round(height * scale), round(width * scale))

    def _crop(
        self, pixels_3HW: Tensor, height: int, width: int, rng: np.random.Generator
    ) -> Tensor:
        share, down, right, flip = 1.0, 0.5, 0.5, False
        if self._augment:
            share, down, right = rng.uniform((_LEAST_CROP, 0, 0), 1)
            flip = bool(rng.random() < 0.5)
        whole_height, whole_width = pixels_3HW.shape[1:]
        scale = share * min(whole_height / height, whole_width / width)
        rows = max(1, min(whole_height, round(scale * height)))
        columns = max(1, min(whole_width, round(scale * width)))
        top, left = round(down * (whole_height - rows)), round(right * (whole_width - columns))
        part = pixels_3HW[:, top : top + rows, left : left + columns].float() / 255
        crop = resize(part, height, width)
        if not self._augment:
            return crop
        return _recolored(crop.flip(2) if flip else crop, rng)


def _recolored(image_3HW: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a picture with other colors: a random gamma of each channel, and random saturation.

    Without this, a network that has seen few photos fails on colors that none of them has.
    """
    exponent_3 = rng.uniform(-_MOST_GAMMA, _MOST_GAMMA, size=3)
    saturation, changed = rng.uniform(*_SATURATION), rng.random() < _RECOLORED
    if not changed:
        return image_3HW
    gamma_311 = torch.tensor(2.0**exponent_3, dtype=torch.float32)[:, None, None]
    colored = image_3HW**gamma_311
    gray = colored.mean(dim=0, keepdim=True)
    return (gray + saturation * (colored - gray)).clamp(0, 1)
