"""Color profiles: colors as the ICC profile of a file defines them -> sRGB."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from nst_core.images.decoder_errors import DECODER_ERRORS

_ODD_PROFILE = "its color profile cannot be read and is ignored; its colors are taken as sRGB"

_SRGB, _LAB = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)) for name in ("sRGB", "LAB"))

#: Color space of a profile -> mode of the pictures that it can be applied to.
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_srgb(picture: Image.Image, notes: list[str]) -> Image.Image:
    """Return a picture of at most 8 bits a channel in mode RGB, with sRGB colors.

    Args:
        picture: decoded, in any mode; its profile is applied if it fits.
        notes: gets a sentence if the profile is damaged.
    """
    profile = _usable_profile(picture, notes)
    if profile is not None:
        return _apply(picture, profile)
    if picture.mode == "LAB":  # Pillow converts it by a profile only
        return _convert(picture, _LAB)
    return picture.convert("RGB")


def gray_to_srgb(gray_HW: np.ndarray, picture: Image.Image, notes: list[str]) -> np.ndarray:
    """Return 16-bit gray as RGB, float32 HW3 in [0, 1], with sRGB levels.

    Args:
        gray_HW: gray values in [0, 1].
        picture: the file's picture; its profile is applied if it fits.
        notes: gets a sentence if the profile is damaged.
    """
    profile = _usable_profile(picture, notes)
    if profile is None:
        return np.repeat(gray_HW[..., None], 3, axis=2)
    # Pillow applies profiles at 8 bits only; between two of these levels the curve is nearly
    # straight.
    levels = np.arange(256, dtype=np.uint8)
    srgb_L3 = np.asarray(_apply(Image.fromarray(levels[None]), profile))[0] / 255
    channels = [np.interp(gray_HW * 255, levels, srgb_L) for srgb_L in srgb_L3.T]
    return np.stack([channel.astype(np.float32) for channel in channels], axis=2)


def is_srgb(picture: Image.Image, notes: list[str]) -> bool:
    """Return whether the conversion to sRGB changes no color of an RGB picture beyond rounding.

    Args:
        picture: need not be decoded. Its profile is tried, because names of profiles are arbitrary.
        notes: gets a sentence if the profile is damaged.
    """
    profile = _usable_profile(picture, notes)
    if profile is None:
        return True
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, -1, 3)
    converted = np.asarray(_apply(Image.fromarray(colors), profile))
    return bool(np.abs(converted.astype(int) - colors).max() <= 1)


def _usable_profile(picture: Image.Image, notes: list[str]) -> ImageCms.ImageCmsProfile | None:
    """Return the profile; None if there is none, it is damaged, or it is for other channels."""
    content = picture.info.get("icc_profile")
    if not content:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        mode = _PROFILE_MODES.get(_space(profile))
        fits = {
            # Some programs leave an RGB profile on a gray picture.
            "RGB": picture.mode not in ("CMYK", "LAB"),
            "L": picture.mode in ("1", "L", "LA") or picture.mode.startswith(("I", "F")),
            "CMYK": picture.mode == "CMYK",
        }
        if mode is None or not fits[mode]:
            return None
        _apply(Image.new(mode, (1, 1)), profile)  # some can be read but not applied
    except DECODER_ERRORS:
        notes.append(_ODD_PROFILE)
        return None
    return profile


def _space(profile: ImageCms.ImageCmsProfile) -> str:
    return profile.profile.xcolor_space.strip()


def _apply(picture: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    return _convert(picture.convert(_PROFILE_MODES[_space(profile)]), profile)


def _convert(picture: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(picture, profile, _SRGB, outputMode="RGB")
    assert converted is not None  # it is None only where the picture is converted in place
    return converted
