"""What the command `distill` is asked for: styles, photos and files, checked before the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nst_core.distill.objective import NetworkStyle, check_styles
from nst_core.distill.onnx_file import check_installed
from nst_core.distill.photos import RECOMMENDED_PHOTOS, SAMPLES, Photo, sample_photos, split
from nst_core.distill.settings import TrainingSettings
from nst_core.errors import ImageError, InputError, Say
from nst_core.feed_forward.magenta import check_installed as check_feed_forward
from nst_core.files import check_writable, is_folder
from nst_core.images.sizes import check_image
from nst_core.output_files import check_text_output
from nst_core.presets.preset import Preset
from tuner.apply.picture import preset_file, settings
from tuner.apply.picture_files import file_digest, picture_paths
from tuner.apply.weights_files import WeightsFiles
from tuner.job.style_arguments import StyleArgument

#: Number of unreadable photos that are listed one by one.
_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Request:
    """Arguments of the command `distill`.

    Attributes:
        presets: names or files of presets: one for all styles, or one for each style.
        styles: style images, each as ``FILE[@@PART]``; each becomes a style of the network.
        photos: folder of photos, or `photos.SAMPLES`.
        out: the ONNX file.
        training: settings of the training.
        held_out: folder of photos to measure on; None: some of ``photos``.
        assignments: changed settings of all presets, each as ``KEY=VALUE``.
        size_px: side of the training pictures; None: that of the presets.
        weights: weights files, each as ``NAME=FILE``.
        force: replace files that nst-tuner did not make.
    """

    presets: Sequence[str]
    styles: Sequence[str]
    photos: str
    out: Path
    training: TrainingSettings
    held_out: Path | None = None
    assignments: Sequence[str] = ()
    size_px: int | None = None
    weights: Sequence[str] = ()
    force: bool = False

    @property
    def folder(self) -> Path:
        """Folder of everything but the ONNX file."""
        return self.out.with_name(f"{self.out.name}.training")


@dataclass(frozen=True, kw_only=True)
class Work:
    """A checked `Request`.

    Attributes:
        presets: the preset of each style, as it runs on this machine.
        styles: the styles of the network.
        training_photos: photos to train on.
        held_out: photos to measure on.
        files: weights by name.
    """

    presets: Sequence[Preset]
    styles: Sequence[NetworkStyle]
    training_photos: Sequence[Photo]
    held_out: Sequence[Photo]
    files: WeightsFiles


def check(request: Request, say: Say) -> Work:
    """Check and read everything that a request names.

    Args:
        request: the arguments.
        say: gets a line about each fallback, about photos that are left out, and about few photos.

    Raises:
        InputError: something is missing, cannot be read or written, or cannot be learned.
    """
    check_installed()
    if request.out.suffix.lower() != ".onnx":
        raise InputError(f"--out {request.out}: expected a file name that ends in .onnx")
    arguments = [_style(text) for text in request.styles]
    files = WeightsFiles(request.weights, say)
    training, held_out = _photos(request, say)
    presets = _presets(request, files, say)
    styles = [
        NetworkStyle(name=name, config=preset.config, styles=(argument.load(),))
        for name, preset, argument in zip(
            _names(arguments, presets), presets, arguments, strict=True
        )
    ]
    check_styles(styles)
    if any(preset.config.init == "feed_forward" for preset in presets):
        check_feed_forward()  # the optimization, which the network is compared with, needs it
    _check_out(request, arguments, files, say)
    if len(training) < RECOMMENDED_PHOTOS:
        say(
            f"warning: {len(training)} photos to train on; with fewer than {RECOMMENDED_PHOTOS} a"
            " network is for experiments, and may do worse on other photos"
        )
    return Work(
        presets=presets,
        styles=styles,
        training_photos=training,
        held_out=held_out,
        files=files,
    )


def _presets(request: Request, files: WeightsFiles, say: Say) -> list[Preset]:
    """Return the preset of each style."""
    names: list[str | None] = [*request.presets]
    count = len(request.styles)
    if len(names) not in (0, 1, count):
        raise InputError(
            f"--preset is given {len(names)} times and --style {count} times: expected one preset"
            " for all styles, or one for each style, in the same order"
        )
    options = {"size_px": request.size_px, "seed": None, "say": say}
    chosen = [
        settings(name, request.assignments, **options)  # type: ignore[arg-type]
        for name in (names or [None])
    ]
    runnable = files.runnable_presets(chosen)
    return runnable * count if len(runnable) == 1 else runnable


def _style(text: str) -> StyleArgument:
    argument = StyleArgument.parse(text)
    if argument.weight is not None:
        raise InputError(
            f"--style {text}: the weight has no effect, because each style image becomes a style of"
            " its own, and pictures choose or blend them later; remove the weight"
        )
    return argument


def _names(arguments: Sequence[StyleArgument], presets: Sequence[Preset]) -> list[str]:
    """Return the names of the styles: those of the style images without their suffixes.

    The name of the preset is added where one image occurs several times.
    """
    stems = [Path(argument.file).stem for argument in arguments]
    return [
        stem if stems.count(stem) == 1 else f"{stem}-{preset.name}"
        for stem, preset in zip(stems, presets, strict=True)
    ]


def _check_out(
    request: Request, arguments: Sequence[StyleArgument], files: WeightsFiles, say: Say
) -> None:
    """Raise InputError if the file or the folder cannot be written."""
    read = [*(file for argument in arguments for file in argument.files), *files.files]
    read += [str(path) for name in request.presets if (path := preset_file(name))]
    check_text_output("--out", request.out, read, force=request.force, say=say)
    try:
        request.folder.mkdir(parents=True, exist_ok=True)
        check_writable(request.folder)
    except OSError as error:
        raise InputError(
            f"--out {request.out}: {request.folder} cannot be written ({error.strerror or error});"
            " name another file"
        ) from None


def _photos(request: Request, say: Say) -> tuple[list[Photo], list[Photo]]:
    """Return the photos to train on and those to measure on, which are decoded once."""
    if request.photos == SAMPLES:
        photos = {Path(photo.name): photo for photo in sample_photos()}
    else:
        photos = _photos_of("--photos", Path(request.photos), request, say)
    if request.held_out is None:
        training, held_out = split(list(photos.values()), seed=request.training.seed)
        return training, _readable(held_out, request.photos, say)
    measured = _photos_of("--held-out", request.held_out, request, say)
    training = _without(photos, measured)
    if len(training) < len(photos):
        say(f"left out of the training: {len(photos) - len(training)} photos that are held out")
    if not training:
        raise InputError(
            f"--held-out {request.held_out}: has all photos of --photos, so none is left to train"
            " on; leave --held-out out, and some of --photos are held out"
        )
    return training, _readable(list(measured.values()), str(request.held_out), say)


def _photos_of(option: str, folder: Path, request: Request, say: Say) -> dict[Path, Photo]:
    """Return the photos of a folder by file; damaged ones are left out, and listed."""
    if not is_folder(folder):
        hint = f", or `{SAMPLES}`" if option == "--photos" else ""
        raise InputError(f"{option} {folder}: no such folder; expected a folder of photos{hint}")
    paths, left_out = picture_paths(folder, request.folder)
    photos = {}
    for path in paths:
        try:
            check_image(path)
            photos[path] = Photo.from_file(path)
        except ImageError as error:
            left_out.append(f"left out: {error}")
    for line in left_out[:_LISTED]:
        say(line)
    if len(left_out) > _LISTED:
        say(f"left out: {len(left_out) - _LISTED} more files")
    if not photos:
        raise InputError(f"{option} {folder}: no picture in it can be read; the reasons are above")
    return photos


def _without(photos: Mapping[Path, Photo], held_out: Mapping[Path, Photo]) -> list[Photo]:
    """Return the photos whose content no held-out file has."""
    by_size: dict[int, set[str]] = {}
    for path in held_out:
        by_size.setdefault(path.stat().st_size, set()).add(file_digest(path))
    return [
        photo
        for path, photo in photos.items()
        if not (path.is_file() and (digests := by_size.get(path.stat().st_size)))
        or file_digest(path) not in digests
    ]


def _readable(photos: Sequence[Photo], source: str, say: Say) -> list[Photo]:
    """Return the photos that can be decoded: the comparison comes at the end of a long training."""
    readable = []
    for photo in photos:
        try:
            photo.load()
            readable.append(photo)
        except ImageError as error:
            say(f"left out: {error}")
    if not readable:
        raise InputError(f"{source}: no held-out photo can be read; the reasons are above")
    return readable
