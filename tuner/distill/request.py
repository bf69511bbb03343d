"""What the command `distill` is asked for: styles, photos and files, checked before the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nst_core.distill.objective import NetworkStyle, check_styles
from nst_core.distill.onnx_file import check_installed
from nst_core.distill.photos import RECOMMENDED_PHOTOS, SAMPLES, Photo, sample_photos, split
from nst_core.distill.settings import TrainingSettings
from nst_core.errors import ImageError, InputError, Say
from nst_core.files import check_writable, is_folder
from nst_core.images.sizes import check_image
from nst_core.output_files import check_text_output
from nst_core.presets.preset import Preset
from tuner.apply.picture import preset_file, settings
from tuner.apply.picture_files import pictures_in
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
        for name, preset, argument in zip(_names(arguments), presets, arguments, strict=True)
    ]
    check_styles(styles)
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
    runnable = [files.runnable_preset(preset) for preset in chosen]
    return runnable * count if len(runnable) == 1 else runnable


def _style(text: str) -> StyleArgument:
    argument = StyleArgument.parse(text)
    if argument.weight is not None:
        raise InputError(
            f"--style {text}: the weight has no effect, because each style image becomes a style of"
            " its own, and pictures choose or blend them later; remove the weight"
        )
    return argument


def _names(arguments: Sequence[StyleArgument]) -> list[str]:
    """Return the names of the styles: those of the style images without their suffixes."""
    return [Path(argument.file).stem for argument in arguments]


def _check_out(
    request: Request, arguments: Sequence[StyleArgument], files: WeightsFiles, say: Say
) -> None:
    """Raise InputError if the file or the folder cannot be written."""
    read = [*(file for argument in arguments for file in argument.files), *files.files]
    read += [str(path) for name in request.presets if (path := preset_file(name))]
    try:
        request.folder.mkdir(parents=True, exist_ok=True)
        check_writable(request.folder)
    except OSError as error:
        raise InputError(
            f"--out {request.out}: {request.folder} cannot be written ({error.strerror or error});"
            " name another file"
        ) from None
    check_text_output("--out", request.out, read, force=request.force, say=say)


def _photos(request: Request, say: Say) -> tuple[list[Photo], list[Photo]]:
    """Return the photos to train on and those to measure on."""
    if request.photos == SAMPLES:
        photos = sample_photos()
    else:
        photos = _photos_of("--photos", Path(request.photos), request, say)
    if request.held_out is None:
        return split(photos, seed=request.training.seed)
    return photos, _photos_of("--held-out", request.held_out, request, say)


def _photos_of(option: str, folder: Path, request: Request, say: Say) -> list[Photo]:
    """Return the photos of a folder; damaged ones are left out, and listed."""
    if not is_folder(folder):
        hint = f", or `{SAMPLES}`" if option == "--photos" else ""
        raise InputError(f"{option} {folder}: no such folder; expected a folder of photos{hint}")
    pictures, left_out = pictures_in(folder, request.folder)
    photos = []
    for picture in pictures:
        try:
            check_image(folder / picture.name)
            photos.append(Photo.from_file(folder / picture.name))
        except ImageError as error:
            left_out.append(f"left out: {error}")
    for line in left_out[:_LISTED]:
        say(line)
    if len(left_out) > _LISTED:
        say(f"left out: {len(left_out) - _LISTED} more files")
    if not photos:
        raise InputError(f"{option} {folder}: no picture in it can be read; the reasons are above")
    return photos
