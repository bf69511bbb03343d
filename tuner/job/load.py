"""Load a job file and check it, with every file that it names."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nst_core.errors import ConfigError, InputError, near_miss
from nst_core.files import is_file, is_utf8
from nst_core.images.sizes import check_image, fit_size
from nst_core.networks.weights import SOURCES
from nst_core.references import NO_REGIONS
from search_spaces import (
    Space,
    StylizerSpace,
    space_to_dict,
)
from search_spaces.priors import priors_of
from tuner.job.find_space import find_space
from tuner.job.key_errors import describe_errors, place_of, short_text
from tuner.job.spec import JobSpec, PairSpec, ReferenceSpec
from tuner.job.stylizer_checks import fit_problems, stylizer_key_problems, stylizer_space
from tuner.job.yaml_file import KeyPath, YamlFile, read_yaml, set_key

#: Value of `search.warm_start` that was removed; jobs of stored runs may contain it.
SIMILAR = "similar"
#: Largest relative difference of aspect ratios at which two pictures are compared pixel by pixel.
MAX_ASPECT_DIFFERENCE = 0.05


def load_job(path: Path, overrides: Sequence[str] = ()) -> tuple[JobSpec, Space]:
    """Read a job file, apply overrides, and check the job and every file that it names.

    Args:
        path: path of the job file.
        overrides: assignments ``key.sub=value``.

    Returns:
        The job, with absolute paths, and its search space for its number of style images.

    Raises:
        ConfigError: the job is not valid; the error lists all problems.
    """
    path = Path(os.path.expanduser(path))  # noqa: PTH111
    return job_of(read_yaml(path), path.resolve().parent, overrides)


def job_of(file: YamlFile, folder: Path, overrides: Sequence[str] = ()) -> tuple[JobSpec, Space]:
    """Return the job of a parsed job file; see `load_job`.

    Args:
        file: the parsed job file.
        folder: the folder that its paths are relative to.
        overrides: assignments ``key.sub=value``.
    """
    path = file.source
    if not is_utf8(folder):  # studies and reports store the paths of its pictures as text
        raise ConfigError(
            path,
            ["the name of its folder is not valid UTF-8; rename the folder, or move the job file"],
        )
    if not isinstance(file.data, dict):
        raise ConfigError(
            path, [f"expected keys of a job (name, pairs, …), got {short_text(file.data)}"]
        )
    overridden = [set_key(file.data, assignment) for assignment in overrides]
    lines = {
        key: line
        for key, line in file.lines.items()
        if not any(key[: len(prefix)] == prefix for prefix in overridden)
    }
    file = YamlFile(source=file.source, data=file.data, lines=lines)
    try:
        job = JobSpec.model_validate(file.data)
    except ValidationError as error:
        raise ConfigError(path, describe_errors(error, file)) from None
    job = _absolute(job, folder)
    problems, space = _check_files(job, file)
    if problems:
        raise ConfigError(path, problems)
    assert space is not None
    return job, _space_of_job(job, space)


def _space_of_job(job: JobSpec, space: Space) -> Space:
    """Return the space for the stylizer, the style images and the size of a job."""
    if isinstance(space, StylizerSpace):
        assert job.stylizer is not None
        return replace(space, stylizer=job.stylizer.to_plain())
    return space.for_style_images(len(job.pairs[0].style))


def _absolute(job: JobSpec, folder: Path) -> JobSpec:
    """Return the job with absolute paths instead of paths relative to its folder."""

    def place(name: str, role: str = "") -> str:
        return os.path.normpath(folder / os.path.expanduser(name))  # noqa: PTH111

    search = job.search
    if search.replay:
        search = search.model_copy(update={"replay": place(search.replay)})
    if search.study and re.match(r"sqlite:///[^/:$]", search.study):  # a relative path
        file = search.study.removeprefix("sqlite:///")
        search = search.model_copy(update={"study": f"sqlite:///{place(file)}"})
    warm = [source if source == SIMILAR else place(source) for source in search.warm_start]
    search = search.model_copy(update={"warm_start": warm})
    return job.model_copy(
        update={
            "pairs": [pair.placed(place) for pair in job.pairs],
            "holdout": [pair.placed(place) for pair in job.holdout],
            "search": search,
            "space": job.space_placed(place),
            "stylizer": job.stylizer and job.stylizer.placed(place, str(folder)),
            "weights": {name: place(file) for name, file in job.weights.items()},
            "storage": job.storage
            if job.storage is None or "://" in job.storage
            else place(job.storage),
        }
    )


def _check_files(job: JobSpec, file: YamlFile) -> tuple[list[str], Space | None]:
    """Return the problems of all files that a job names, and its search space if it is valid."""
    problems: list[str] = []
    for key, pairs in (("pairs", job.pairs), ("holdout", job.holdout)):
        for index, pair in enumerate(pairs):
            problems += _pair_problems(pair, job.size_px, (key, index), file)
    problems += _weights_problems(job.weights, file) + stylizer_key_problems(job, file)
    try:
        space = stylizer_space(job) if job.stylizer else find_space(job.space_name)
    except ConfigError as error:
        place = (
            f"{place_of(file, ('space',) if job.space == job.space_name else ('space', 'base'))}: "
        )
        if is_file(Path(job.space_name)):
            place += f"{job.space_name}: "
        return problems + [place + problem for problem in error.problems], None
    for key, pairs in (("pairs", job.pairs), ("holdout", job.holdout)):
        for index, pair in enumerate(pairs):
            problems += _unmet_needs(space, pair, job.pairs[0], (key, index), file)
    problems += fit_problems(job, space, file)
    _, wrong = priors_of(_space_of_job(job, space), job.prior)
    problems += [
        f"{place_of(file, ('space', 'prior', name))}: {problem}" for name, problem in wrong.items()
    ]
    return problems, space


def fingerprint(job: JobSpec, space: Space, presets: Sequence[str]) -> dict[str, str]:
    """Return key -> digest of everything that must be equal for two jobs to share a study.

    Args:
        job: the job, with absolute paths. Files are compared by content, not by name.
        space: search space of the job.
        presets: names of the presets that the run begins with.
    """

    def content(name: str, role: str) -> str:
        return hashlib.sha256(Path(name).read_bytes()).hexdigest()

    def contents(pairs: Sequence[PairSpec]) -> list[Any]:
        return [pair.placed(content).model_dump(mode="json") for pair in pairs]

    dumped = job.model_dump(mode="json")
    compared = {
        "pairs": contents(job.pairs),
        "holdout": contents(job.holdout),
        "space": space_to_dict(space),
        "presets": list(presets),
        **{key: dumped[key] for key in ("size_px", "objective", "constraints", "halving")},
    }
    if job.resources.precision is not None:  # studies of older versions lack both
        compared["precision"] = job.resources.precision
    if job.stylizer is not None:
        compared["stylizer"] = job.stylizer.to_plain()
    if job.prior:
        compared["prior"] = job.prior
    return {
        key: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
        for key, value in compared.items()
    }


def _unmet_needs(
    space: Space, pair: PairSpec, first: PairSpec, path: KeyPath, file: YamlFile
) -> list[str]:
    """Return what the search space needs in a pair but the pair does not have."""
    problems = []
    if allowed := space.style_images:
        count = f"{allowed[0]} to {allowed[-1]}" if len(allowed) > 1 else f"{allowed[0]}"
        place = f"{place_of(file, (*path, 'style'))}: the space {space.name} needs {count} style"
        largest_group = max(Counter(style.region for style in pair.style).values())
        if len(pair.style) not in allowed:
            problems.append(f"{place} images, got {len(pair.style)}")
        elif len(pair.style) != len(first.style):
            problems.append(
                f"{place} images, the same number in every pair, got {len(pair.style)} here and"
                f" {len(first.style)} in the first pair"
            )
        elif len(pair.style) > 1 and largest_group < 2:
            problems.append(
                f"{place} images in the same region, but here each has a region of its own"
            )
    if "image" in space.may_set("init") and not pair.start:
        problems.append(
            f"{place_of(file, (*path, 'start'))}: missing; the space {space.name} may start"
            " from a given picture (`init: image`), so every pair needs one"
        )
    return problems


def _pair_problems(pair: PairSpec, size_px: int, path: KeyPath, file: YamlFile) -> list[str]:
    """Return the problems of the files of one pair, which is at ``path`` in the job file."""
    problems: list[str] = []
    sizes: dict[KeyPath, tuple[int, int]] = {}
    for key, name in _pictures(pair):
        try:
            sizes[key] = check_image(name)
            if key == ("content",):
                fit_size(*sizes[key], size_px)
        except InputError as error:
            problems.append(f"{place_of(file, (*path, *key))}: {error}")
    problems += [
        f"{place_of(file, (*path, 'reference', role))}: no such file {name}, expected AdaIN weights"
        for role, name in _weights_files(pair)
        if not is_file(name)
    ]
    reference = pair.reference
    regions = any(style.region or style.style_region for style in pair.style)
    if isinstance(reference, ReferenceSpec) and reference.source != "long-run" and regions:
        problems.append(f"{place_of(file, (*path, 'reference'))}: {NO_REGIONS}")
    problems += _style_mask_problems(pair, sizes, path, file)
    content = sizes.get(("content",))
    for key, size in sizes.items():
        role = {"reference": "reference", "start": "start", "region": "mask"}.get(str(key[-1]))
        if role and content and shapes_differ(content, size):
            problems.append(
                f"{place_of(file, (*path, *key))}: {size[0]}x{size[1]} has another shape than the"
                f" content ({content[0]}x{content[1]}); crop the {role} to the content's frame"
            )
    return problems


def _style_mask_problems(
    pair: PairSpec, sizes: Mapping[KeyPath, tuple[int, int]], path: KeyPath, file: YamlFile
) -> list[str]:
    """Return a problem for every mask of a style image with another shape than that image."""
    problems = []
    for index in range(len(pair.style)):
        key = _style_key(pair, index)
        image, mask = sizes.get(key), sizes.get((*key, "style_region"))
        if image and mask and shapes_differ(image, mask):
            place = place_of(file, (*path, *key, "style_region"))
            problems.append(
                f"{place}: {mask[0]}x{mask[1]} has another shape than the style image"
                f" ({image[0]}x{image[1]}); crop the mask to that image's frame"
            )
    return problems


def _weights_problems(weights: Mapping[str, str], file: YamlFile) -> list[str]:
    """Return a problem for each unknown name and each missing file in ``weights``."""
    problems = []
    for name, path in weights.items():
        where = place_of(file, ("weights", name))
        if name not in SOURCES:
            problems.append(f"{where}: no such weights{near_miss(name, SOURCES)}")
        elif not is_file(path):
            problems.append(f"{where}: no such file {path}, expected weights of {name}")
    return problems


def _pictures(pair: PairSpec) -> Iterator[tuple[KeyPath, str]]:
    """Yield (key path within the pair, file) of every picture and mask of a pair."""
    yield ("content",), pair.content
    for index, style in enumerate(pair.style):
        key = _style_key(pair, index)
        yield key, style.image
        if style.region:
            yield (*key, "region"), style.region
        if style.style_region:
            yield (*key, "style_region"), style.style_region
    if isinstance(pair.reference, str):
        yield ("reference",), pair.reference
    if pair.start:
        yield ("start",), pair.start


def _style_key(pair: PairSpec, index: int) -> KeyPath:
    """Return the key path of a style image; a single one needs no list in the job file."""
    return ("style",) if len(pair.style) == 1 else ("style", index)


def _weights_files(pair: PairSpec) -> Iterator[tuple[str, str]]:
    """Yield (role, file) of the weights files of an AdaIN reference."""
    if isinstance(pair.reference, ReferenceSpec):
        for role in ("encoder", "decoder"):
            if name := getattr(pair.reference, role):
                yield role, name


def shapes_differ(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two pictures (width, height) have aspect ratios that are too different to compare."""
    return abs(a[0] * b[1] / (a[1] * b[0]) - 1) > MAX_ASPECT_DIFFERENCE
