from pathlib import Path

import pytest
import safetensors.torch
import skimage.data
import torch
from torch import Tensor
from torch.nn import functional as F

from nst_core.errors import InputError, WeightsError
from nst_core.feed_forward.adain import Adain, adaptive_instance_norm, channel_stats
from nst_core.images.tensors import from_uint8, resize

CONTENT = resize(from_uint8(skimage.data.chelsea()), 65, 97)
STYLE = resize(from_uint8(skimage.data.coffee()), 48, 72)
OTHER = resize(from_uint8(skimage.data.astronaut()), 64, 64)

#: The published layout: number in the file -> (channels out, channels in), all 3x3 but the first.
ENCODER_LAYOUT = {
    **{0: (3, 3), 2: (64, 3), 5: (64, 64), 9: (128, 64), 12: (128, 128), 16: (256, 128)},
    **{19: (256, 256), 22: (256, 256), 25: (256, 256), 29: (512, 256)},
}
DECODER_LAYOUT = {
    **{1: (256, 512), 5: (256, 256), 8: (256, 256), 11: (256, 256), 14: (128, 256)},
    **{18: (128, 128), 21: (64, 128), 25: (64, 64), 28: (3, 64)},
}
POOLED_BEFORE = (9, 16, 29)
DOUBLED_AFTER = (1, 14, 21)

Weights = dict[str, Tensor]


def random_weights(layout: dict[int, tuple[int, int]]) -> Weights:
    generator = torch.Generator().manual_seed(0)
    weights: Weights = {}
    for number, (out, into) in layout.items():
        side = 1 if number == 0 else 3
        scale = (2 / (into * side * side)) ** 0.5
        kernel = torch.randn(out, into, side, side, generator=generator) * scale
        weights |= {
            f"{number}.weight": kernel,
            f"{number}.bias": 0.1 * torch.randn(out, generator=generator),
        }
    return weights


@pytest.fixture(scope="module")
def encoder_weights() -> Weights:
    return random_weights(ENCODER_LAYOUT)


@pytest.fixture(scope="module")
def decoder_weights() -> Weights:
    weights = random_weights(DECODER_LAYOUT)
    # Pixels around mid gray: clamped ones would hide what goes on.
    return weights | {"28.weight": 0.1 * weights["28.weight"], "28.bias": torch.full((3,), 0.5)}


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory, encoder_weights: Weights, decoder_weights: Weights
) -> tuple[Path, Path]:
    """Write both files as published: torch's old format, with unused encoder layers."""
    folder = tmp_path_factory.mktemp("adain")
    paths = folder / "vgg_normalised.pth", folder / "decoder.pth"
    unread = {"32.weight": torch.zeros(2), "51.bias": torch.zeros(2)}
    for path, weights in zip(paths, (encoder_weights | unread, decoder_weights), strict=True):
        torch.save(weights, path, _use_new_zipfile_serialization=False)
    return paths


@pytest.fixture(scope="module")
def adain(files: tuple[Path, Path]) -> Adain:
    return Adain.load(*files)


def conv(feat: Tensor, weights: Weights, number: int) -> Tensor:
    mirrored = F.pad(feat, (1, 1, 1, 1), mode="reflect")
    return F.conv2d(mirrored, weights[f"{number}.weight"], weights[f"{number}.bias"])


def encode(image: Tensor, weights: Weights) -> Tensor:
    feat = F.conv2d(image[None], weights["0.weight"], weights["0.bias"])
    for number in list(ENCODER_LAYOUT)[1:]:
        if number in POOLED_BEFORE:
            feat = F.max_pool2d(feat, 2, ceil_mode=True)
        feat = conv(feat, weights, number).relu()
    return feat


def decode(feat: Tensor, weights: Weights) -> Tensor:
    for number in DECODER_LAYOUT:
        feat = conv(feat, weights, number)
        feat = feat if number == 28 else feat.relu()
        if number in DOUBLED_AFTER:
            feat = feat.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return feat


def test_statistics_by_hand() -> None:
    """The statistics of 1, 3, 5, 7 are mean 4 and variance 5, and are transferred to content."""
    style = torch.tensor([1.0, 3.0, 5.0, 7.0]).view(1, 1, 2, 2)
    mean, std = channel_stats(style)
    assert mean.item() == 4
    assert std.item() == pytest.approx(5**0.5, abs=1e-5)
    content = torch.tensor([10.0, 10.0, 30.0, 30.0]).view(1, 1, 1, 4)
    expected = [4 - 5**0.5, 4 - 5**0.5, 4 + 5**0.5, 4 + 5**0.5]
    found = adaptive_instance_norm(content, style).flatten().tolist()
    assert found == pytest.approx(expected, abs=1e-5)


def test_features_take_the_styles_statistics() -> None:
    """Transformed features have the style's mean and deviation in every channel."""
    generator = torch.Generator().manual_seed(1)
    content = 3 * torch.randn(2, 5, 8, 6, generator=generator) - 1
    style = 0.5 * torch.rand(2, 5, 4, 9, generator=generator) + 2
    for found, expected in zip(
        channel_stats(adaptive_instance_norm(content, style)), channel_stats(style), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_equal_features_stay() -> None:
    """Features transformed to their own statistics are unchanged."""
    feat = torch.rand(1, 4, 5, 5, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(adaptive_instance_norm(feat, feat), feat)


def test_flat_channel_takes_the_mean() -> None:
    """A constant channel becomes the style's mean instead of NaN."""
    style = torch.rand(1, 1, 3, 3)
    flat = adaptive_instance_norm(torch.zeros(1, 1, 1, 1), style)
    torch.testing.assert_close(flat, style.mean(dim=(2, 3), keepdim=True))


def test_networks_are_the_published_ones(
    adain: Adain, encoder_weights: Weights, decoder_weights: Weights
) -> None:
    """Both networks equal the published layers, with sizes rounded up by poolings."""
    feat = encode(CONTENT, encoder_weights)
    assert feat.shape == (1, 512, 9, 13)
    torch.testing.assert_close(adain.encoder(CONTENT[None]), feat)
    strong = 30 * feat
    pixels = decode(strong, decoder_weights)
    assert pixels.min() < 0  # the last layer does not rectify
    torch.testing.assert_close(adain.decoder(strong), pixels)


def test_whole_way(adain: Adain, encoder_weights: Weights, decoder_weights: Weights) -> None:
    """A stylization decodes the transformed features, averaged by weight and mixed by alpha."""
    feat = encode(CONTENT, encoder_weights)
    transformed = [
        adaptive_instance_norm(feat, encode(image, encoder_weights)) for image in (STYLE, OTHER)
    ]
    mixed = 0.4 * feat + 0.6 * (0.25 * transformed[0] + 0.75 * transformed[1])
    expected = decode(mixed, decoder_weights)[0, :, :65, :97].clamp(0, 1)
    found = adain(CONTENT, [(STYLE, 2), (OTHER, 6)], alpha=0.6)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert found.std() > 0.01


@pytest.mark.parametrize("size", [(65, 97), (16, 16), (17, 31), (64, 80)])
def test_any_size_is_kept(adain: Adain, size: tuple[int, int]) -> None:
    """The result has the content's size and lies in [0, 1]."""
    image = adain(resize(CONTENT, *size), [(STYLE, 1)])
    assert image.shape == (3, *size)
    assert image.dtype == torch.float32
    assert 0 <= image.min() < image.max() <= 1


def test_alpha_zero_decodes_the_content(adain: Adain) -> None:
    """With alpha 0 the content's own features are decoded, whatever the style."""
    own = adain.decoder(adain.encoder(CONTENT[None]))[0, :, :65, :97].clamp(0, 1)
    torch.testing.assert_close(adain(CONTENT, [(STYLE, 1)], alpha=0), own)


def test_content_as_style(adain: Adain) -> None:
    """The content as its own style gives the encoded and decoded content."""
    own = adain(CONTENT, [(CONTENT, 1)], alpha=0)
    torch.testing.assert_close(adain(CONTENT, [(CONTENT, 1)]), own, atol=1e-4, rtol=0)


def test_blend_of_one_and_nothing(adain: Adain) -> None:
    """A style of weight 0 changes nothing, one of weight above 0 does."""
    alone = adain(CONTENT, [(STYLE, 1)])
    assert torch.equal(adain(CONTENT, [(STYLE, 3), (OTHER, 0)]), alone)
    assert not torch.allclose(adain(CONTENT, [(STYLE, 1), (OTHER, 1)]), alone, atol=1e-3)


def test_result_can_be_optimized(adain: Adain) -> None:
    """The result is a plain tensor that an optimization can start from."""
    start = adain(CONTENT, [(STYLE, 1)]).requires_grad_()
    start.square().sum().backward()
    assert start.grad is not None
    assert all(not parameter.requires_grad for parameter in adain.encoder.parameters())


def test_safetensors_equal_pth(
    adain: Adain, encoder_weights: Weights, decoder_weights: Weights, tmp_path: Path
) -> None:
    """The same tensors in safetensors files, in half precision too, give networks in float32."""
    paths = tmp_path / "encoder.safetensors", tmp_path / "decoder.safetensors"
    for path, weights in zip(paths, (encoder_weights, decoder_weights), strict=True):
        safetensors.torch.save_file(weights, path)
    expected = adain(CONTENT, [(STYLE, 1)])
    assert torch.equal(Adain.load(*paths)(CONTENT, [(STYLE, 1)]), expected)
    safetensors.torch.save_file({k: v.half() for k, v in decoder_weights.items()}, paths[1])
    assert {p.dtype for p in Adain.load(*paths).decoder.parameters()} == {torch.float32}


def test_every_wrong_tensor_is_listed(files: tuple[Path, Path], tmp_path: Path) -> None:
    """One error names the file, its role, and every tensor that is missing or has a wrong shape."""
    damaged = tmp_path / "damaged.pth"
    weights = torch.load(files[1], weights_only=True)
    del weights["5.bias"], weights["25.weight"], weights["28.bias"]
    torch.save(weights | {"1.weight": torch.zeros(2, 3), "8.bias": "text"}, damaged)
    with pytest.raises(WeightsError) as caught:
        Adain.load(files[0], damaged)
    text = str(caught.value)
    assert str(damaged) in text
    assert "AdaIN decoder" in text
    assert "`1.weight`: expected (256, 512, 3, 3), got (2, 3)" in text
    for key in ("5.bias", "8.bias", "25.weight", "28.bias"):
        assert f"`{key}`: expected" in text
    assert text.count("\n") == 5


def test_exchanged_files_are_refused(files: tuple[Path, Path]) -> None:
    """The decoder's file is refused as encoder."""
    with pytest.raises(WeightsError, match="not weights of the AdaIN encoder"):
        Adain.load(files[1], files[0])


class Hostile:
    """An object that would execute code if it were unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return print, ("executed",)


def test_no_code_in_a_file_runs(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pickle that would call a function is refused without calling it."""
    hostile = tmp_path / "hostile.pth"
    torch.save({"1.weight": Hostile()}, hostile)
    with pytest.raises(WeightsError, match="plain tensors"):
        Adain.load(files[0], hostile)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "name", ["text.pth", "text.safetensors", "cut.pth", "bent.pth", "none.pth"]
)
def test_unreadable_files(files: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    """The error about a missing, truncated, damaged or other file names the file."""
    content = files[1].read_bytes()
    bent = bytearray(content)
    bent[150:200] = b"\xff" * 50
    contents = {
        **{"text.pth": b"no weights", "text.safetensors": b"no weights"},
        **{"cut.pth": content[:1000], "bent.pth": bytes(bent)},
    }
    if name in contents:
        (tmp_path / name).write_bytes(contents[name])
    with pytest.raises(WeightsError, match=name):
        Adain.load(files[0], tmp_path / name)


def test_other_content_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    """A file that holds a list instead of named tensors is refused."""
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds list"):
        Adain.load(files[0], tmp_path / "list.pth")


@pytest.mark.parametrize(
    ("content", "styles", "alpha", "message"),
    [
        (CONTENT, [], 1.0, "no style"),
        (CONTENT, [(STYLE, -1.0)], 1.0, "style weights -1"),
        (CONTENT, [(STYLE, 1.0)], -0.1, "alpha -0.1"),
        (CONTENT[:, :15], [(STYLE, 1.0)], 1.0, "at least 16 px"),
        (CONTENT, [(STYLE[:, :, :15], 1.0)], 1.0, "at least 16 px"),
    ],
)
def test_arguments_out_of_range(
    adain: Adain,
    content: Tensor,
    styles: list[tuple[Tensor, float]],
    alpha: float,
    message: str,
) -> None:
    """An invalid argument is refused with its name or value."""
    with pytest.raises(InputError, match=message):
        adain(content, styles, alpha=alpha)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(adain: Adain, files: tuple[Path, Path]) -> None:
    """A GPU gives the same picture, on the content's device."""
    image = Adain.load(*files, device="cuda")(CONTENT, [(STYLE, 1)])
    assert image.device == CONTENT.device
    torch.testing.assert_close(image, adain(CONTENT, [(STYLE, 1)]), atol=0.02, rtol=0)
