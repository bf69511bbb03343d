"""Colors as a picture's own ICC profile means them -> sRGB; a profile of no use is ignored."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from nst_core.images.decoder_errors import DECODER_ERRORS
from nst_core.images.picture_metadata import ODD_PROFILE, Metadata

#: Gray modes whose pixels hold 16 bits or more; Pillow has no color mode of that depth.
DEEP_GRAY_MODES = ("I;16", "I;16B", "I;16L", "I", "F")

_SRGB, _LAB = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)) for name in ("sRGB", "LAB"))

#: The mode a picture must have for a profile of each color space to be applied to it.
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def in_srgb(picture: Image.Image, mode: str, metadata: Metadata) -> Image.Image:
    """A picture of 8 bits in mode RGB, its colors as its profile means them.

    Args:
        picture: in any mode that has the same colors as ``mode``.
        mode: of the file.
        metadata: holds the profile.
    """
    profile = _usable_profile(mode, metadata)
    if profile is not None:
        return _to_srgb(picture, profile)
    if picture.mode == "LAB":  # Pillow converts it by a profile only
        return _converted(picture, _LAB)
    return picture.convert("RGB")


def gray_in_srgb(gray_HW: np.ndarray, mode: str, metadata: Metadata) -> np.ndarray:
    """Deep gray in [0, 1] as RGB, HW3, its levels as its profile means them."""
    profile = _usable_profile(mode, metadata)
    if profile is None:
        return np.repeat(gray_HW[..., None], 3, axis=2)
    # Pillow knows profiles of 8 bits only; between those levels the curve is as good as straight.
    levels = np.arange(256, dtype=np.uint8)
    srgb_L3 = np.asarray(_to_srgb(Image.fromarray(levels[None]), profile))[0] / 255
    channels = [np.interp(gray_HW * 255, levels, srgb_L) for srgb_L in srgb_L3.T]
    return np.stack([channel.astype(np.float32) for channel in channels], axis=2)


def is_in_srgb(mode: str, metadata: Metadata) -> bool:
    """Whether a conversion to sRGB changes no color by more than rounding; names tell nothing."""
    profile = _usable_profile(mode, metadata)
    if profile is None:
        return True
    if _space(profile) != "RGB":
        return False
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, -1, 3)
    converted = np.asarray(_to_srgb(Image.fromarray(colors), profile))
    return bool(np.abs(converted.astype(int) - colors).max() <= 1)


def _usable_profile(mode: str, metadata: Metadata) -> ImageCms.ImageCmsProfile | None:
    """The profile; None if there is none, or it is damaged, or for other channels than these."""
    if not metadata.profile:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(metadata.profile))
        needed = _PROFILE_MODES.get(_space(profile))
        fits = {
            # Gray counts as RGB too: programs leave RGB profiles on it.
            "RGB": mode not in ("CMYK", "LAB"),
            "L": mode in ("1", "L", "LA", *DEEP_GRAY_MODES),
            "CMYK": mode == "CMYK",
        }
        if needed is None or not fits[needed]:
            return None
        _to_srgb(Image.new(needed, (1, 1)), profile)  # many can be read and still not be used
    except DECODER_ERRORS:
        metadata.profile = None
        metadata.notes.append(ODD_PROFILE)
        return None
    return profile


def _space(profile: ImageCms.ImageCmsProfile) -> str:
    return profile.profile.xcolor_space.strip()


def _to_srgb(picture: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    return _converted(picture.convert(_PROFILE_MODES[_space(profile)]), profile)


def _converted(picture: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(picture, profile, _SRGB, outputMode="RGB")
    assert converted is not None  # it is None only where the picture is converted in place
    return converted
