"""ONNX files: the pixels of torch at any size, with metadata; other files are refused."""

import json
from pathlib import Path
from unittest import mock

import onnx
import pytest
import torch

from nst_core.distill import onnx_file
from nst_core.distill.networks import StyleNetwork
from nst_core.distill.onnx_file import (
    KEY,
    OPSET,
    TOLERANCE,
    Deployed,
    OnnxNetwork,
    check_installed,
    export_program,
    save_program,
    write_onnx,
)
from nst_core.errors import InputError, WorkError
from nst_core.images.colors import luminance
from tests.nst_core.distill.tiny_network import tiny_network, write_tiny


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StyleNetwork]:
    """The file of a tiny network whose second style keeps colors, and the network."""
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    return path, write_tiny(path, keeps_colors=True)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (33, 50), (96, 64), (101, 131)])
def test_onnxruntime_computes_the_pixels_of_torch(
    written: tuple[Path, StyleNetwork], height: int, width: int
) -> None:
    """Every size, strength and blend gives the pixels of torch within the tolerance."""
    path, network = written
    image = torch.rand(3, height, width)
    result = OnnxNetwork.load(path)(image, strength=3.0, styles=[1.0, 0.0])
    with torch.no_grad():
        expected = network(image[None], torch.tensor([3.0]), torch.tensor([[1.0, 0.0]]))[0]
    assert result.shape == image.shape
    assert (result - expected).abs().max() < TOLERANCE
    assert (result - image).abs().mean() > 0.02


def test_a_style_that_keeps_colors(written: tuple[Path, StyleNetwork]) -> None:
    """A preset with preserve_color gives results whose hues are those of the photo."""
    path, network = written
    image = torch.rand(3, 32, 32) * 0.4 + 0.3
    result = OnnxNetwork.load(path)(image, styles=[0.0, 1.0])
    with torch.no_grad():
        raw = network(image[None], torch.ones(1), torch.tensor([[0.0, 1.0]]))[0]
    expected = (image + luminance(raw) - luminance(image)).clamp(0, 1)
    assert (result - expected).abs().max() < TOLERANCE


def test_metadata_and_opset_are_inside(written: tuple[Path, StyleNetwork]) -> None:
    """A file states its opset, its styles and the program that made it."""
    model = onnx.load(str(written[0]))
    onnx.checker.check_model(model)
    assert model.opset_import[0].version == OPSET
    assert model.producer_name == "made by nst-tuner"
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}[KEY]
    assert facts["opset"] == OPSET and facts["styles"][1]["name"] == "waves"
    assert OnnxNetwork.load(written[0]).styles == ["cafe", "waves"]


def test_the_program_of_torch_export(tmp_path: Path) -> None:
    """The saved program computes the same for other sizes, without TorchScript."""
    network = tiny_network()
    save_program(export_program(Deployed(network, [False, False])), tmp_path / "p.pt2")
    loaded = torch.export.load(tmp_path / "p.pt2").module()
    inputs = (torch.rand(1, 3, 41, 60), torch.tensor([2.0]), torch.tensor([[0.5, 0.5]]))
    with torch.no_grad():
        assert torch.allclose(loaded(*inputs), network(*inputs), atol=1e-5)


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    """If onnxruntime's pixels differ from torch's, there is an error and no file."""
    program = export_program(Deployed(tiny_network(), [False, False]))
    facts = {"styles": [{"name": "a"}, {"name": "b"}]}
    with (
        mock.patch.object(onnx_file, "TOLERANCE", -1.0),
        pytest.raises(WorkError, match="differ"),
    ):
        write_onnx(program, tmp_path / "n.onnx", facts)
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(written: tuple[Path, StyleNetwork], tmp_path: Path) -> None:
    """A missing file, other content, other networks and damaged metadata are one error each."""
    path = tmp_path / "n.onnx"
    with pytest.raises(InputError, match="cannot be read"):
        OnnxNetwork.load(path)
    path.write_bytes(b"no network")
    with pytest.raises(InputError, match="not an ONNX file"):
        OnnxNetwork.load(path)
    for value, words in ((None, "another program"), ("{", "damaged"), ('{"styles": []}', "fit")):
        model = onnx.load(str(written[0]))
        del model.metadata_props[:]
        if value is not None:
            entry = model.metadata_props.add()
            entry.key, entry.value = KEY, value
        path.write_bytes(model.SerializeToString())
        with pytest.raises(InputError, match=words):
            OnnxNetwork.load(path)


def test_bad_arguments_are_refused(written: tuple[Path, StyleNetwork]) -> None:
    """A strength, a style or a size that a network was not trained for is one error."""
    network = OnnxNetwork.load(written[0])
    with pytest.raises(InputError, match=r"0.1 to 10"):
        network(torch.rand(3, 32, 32), strength=11.0, styles=[1.0, 0.0])
    with pytest.raises(InputError, match="at least 16 px"):
        network(torch.rand(3, 15, 32), styles=[1.0, 0.0])
    with pytest.raises(InputError, match="did you mean `waves`"):
        network.shares({"wave": 1.0})
    assert network.shares({"waves": 3.0, "cafe": 1.0}) == [0.25, 0.75]
    assert network.shares({}) == [1.0, 0.0]


def test_a_missing_extra_is_one_error() -> None:
    """Without a package of the extra, the message names it and how to install it."""
    with pytest.raises(InputError, match=r"need no_onnx.*nst-tuner\[distill\]"):
        check_installed(("onnx", "no_onnx"))
