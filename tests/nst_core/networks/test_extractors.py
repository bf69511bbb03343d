from collections.abc import Callable

import pytest
import torch
import torchvision

from nst_core.networks.extractors import NORMALIZATION_STATS, Extractor, Normalizer
from nst_core.networks.registry import NETWORKS, Backbone
from nst_core.networks.weights import Weights

Make = Callable[[str], Weights]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_features_equal_torchvision(name: str, dtype: torch.dtype, random_weights: Make) -> None:
    """At every layer the features are those of torchvision's own forward pass.

    In float32 a convolution may be computed Winograd's way, which rounds otherwise.
    """
    weights = {key: value.to(dtype) for key, value in random_weights(name).items()}
    pixels = torch.rand(2, 3, 80, 72, dtype=dtype)
    found = Extractor(Backbone(name), NETWORKS[name].layers, weights)(pixels)
    oracle = torchvision.models.get_model(name, weights=None).eval().to(dtype)
    oracle.load_state_dict(dict(weights), strict=False)
    seen: dict[str, torch.Tensor] = {}
    for layer, path in NETWORKS[name].node.items():
        # Cloned, since torchvision's ReLUs work in place.
        oracle.get_submodule(path).register_forward_hook(
            lambda _, __, value, layer=layer: seen.__setitem__(layer, value.clone())  # type: ignore[misc]
        )
    oracle(pixels)
    assert list(seen) == list(NETWORKS[name].layers) == list(found)
    for layer, value in seen.items():
        atol = 1e-4 * float(value.abs().max()) if dtype == torch.float32 else 1e-7
        torch.testing.assert_close(found[layer], value, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_networks_name_sensible_layers(name: str) -> None:
    """The default layers of a network exist and are in forward order."""
    network = NETWORKS[name]
    chosen = [*network.style_layers]
    assert all(network.problem_with(layer) is None for layer in [network.content_layer, *chosen])
    assert sorted(chosen, key=network.layers.index) == chosen


def test_cut_after_the_deepest_layer(random_weights: Make) -> None:
    """No layer after the deepest requested one is computed."""
    whole = Extractor(Backbone("vgg16"), NETWORKS["vgg16"].layers, random_weights("vgg16"))
    computed = []
    for module in whole.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, _, __: computed.append(module))
    extractor = whole.cut(["relu2_1", "relu1_1"])
    assert set(extractor(torch.rand(1, 3, 32, 32))) == {"relu2_1", "relu1_1"}
    assert len(computed) == 3
    assert not any(p.requires_grad for p in extractor.parameters())


def test_a_convolution_is_not_overwritten_by_its_relu(random_weights: Make) -> None:
    """conv4_2 keeps its negative values although relu4_2 runs after it."""
    extractor = Extractor(Backbone("vgg16"), ["conv4_2", "relu4_2"], random_weights("vgg16"))
    features = extractor(torch.rand(1, 3, 32, 32))
    assert (features["conv4_2"] < 0).any()
    assert (features["relu4_2"] >= 0).all()


def test_unknown_layers_get_a_near_miss() -> None:
    """The error about an unknown layer suggests the most similar one."""
    assert "did you mean `relu4_2`" in str(NETWORKS["vgg16"].problem_with("relu42"))


@pytest.mark.parametrize("kind", ["average", "l2"])
@pytest.mark.parametrize("name", ["vgg16", "resnet18", "squeezenet1_1"])
def test_pooling_replaces_every_max(name: str, kind: str, random_weights: Make) -> None:
    """Average and L2 pooling return the mean and the root mean square of each window."""
    backbone = Backbone(name, kind)
    layers = ["relu1_2", "pool1"] if name == "vgg16" else ["relu1", "pool1"]
    found = Extractor(backbone, layers, random_weights(name))(torch.rand(1, 3, 40, 40))
    before, after = (found[layer] for layer in layers)
    size = 2 if name == "vgg16" else 3
    start = {"vgg16": 4, "resnet18": 3, "squeezenet1_1": 4}[name]
    patches = before[0, :, start : start + size, start : start + size]
    brightest = int(patches.mean((1, 2)).argmax())  # far above the 1e-7 under the root
    patch = patches[brightest]
    expected = patch.mean() * 2 if kind == "average" else patch.square().mean().sqrt() * 1.56
    torch.testing.assert_close(after[0, brightest, 2, 2], expected)


@pytest.mark.parametrize("kind", ["average", "l2"])
def test_pooling_keeps_the_size_of_features(kind: str, weights: dict[str, Weights]) -> None:
    """On a photo, features after other poolings have about the magnitude of max pooling."""
    import skimage.data

    photo = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1)[None].float() / 255
    pixels = Normalizer(["imagenet"], photo)(photo)
    sizes = [
        Extractor(Backbone("vgg16", pooling), ["relu3_1"], weights["vgg16"])(pixels)["relu3_1"]
        .square()
        .mean()
        for pooling in ("max", kind)
    ]
    assert 0.25 < sizes[1] / sizes[0] < 4


def test_replicate_padding_sees_no_border(random_weights: Make) -> None:
    """A uniform picture gives uniform features with replicate padding, but not with zeros."""
    pixels = torch.ones(1, 3, 32, 32)
    spread = {}
    for padding in ("zeros", "replicate_first", "replicate"):
        backbone = Backbone("vgg16", padding=padding)
        found = Extractor(backbone, ["conv1_1", "conv2_1"], random_weights("vgg16"))(pixels)
        spread[padding] = [found[layer].std(dim=(2, 3)).max() for layer in ("conv1_1", "conv2_1")]
    assert spread["zeros"][0] > 1e-2
    assert spread["replicate_first"][0] < 1e-5
    assert spread["replicate_first"][1] > 1e-2
    assert max(spread["replicate"]) < 1e-5


def test_normalizations_are_what_the_weights_expect() -> None:
    """Each lane has its own normalization: the mean becomes 0, and Caffe's order is BGR."""
    names = list(NORMALIZATION_STATS)
    means = torch.tensor([NORMALIZATION_STATS[name].mean for name in names])
    normalize = Normalizer(names, means)
    zero = normalize(means[:, :, None, None].expand(-1, -1, 2, 2))
    torch.testing.assert_close(zero, torch.zeros_like(zero), atol=1e-5, rtol=0)
    red = torch.zeros(3, 3, 1, 1)
    red[:, 0] = 1
    found = normalize(red)[names.index("caffe"), :, 0, 0]
    torch.testing.assert_close(found, torch.tensor([-103.939, -116.779, 255 - 123.68]))


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "squeezenet1_1"])
def test_scaled_features_are_the_same_features(name: str, random_weights: Make) -> None:
    """A scaled network returns features without the scale."""
    pixels = torch.randn(1, 3, 48, 48, dtype=torch.float64)
    weights = {key: value.double() for key, value in random_weights(name).items()}
    layers = NETWORKS[name].style_layers
    full, scaled = (Extractor(Backbone(name), layers, weights, s)(pixels) for s in (1.0, 1 / 64))
    for layer in layers:
        torch.testing.assert_close(scaled[layer], full[layer], rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="cannot be scaled"):
        Extractor(Backbone("resnet18"), ["layer1"], random_weights("resnet18"), 0.5)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_checkpointing_changes_nothing_but_memory(name: str, random_weights: Make) -> None:
    """Features and gradients are equal with and without checkpointing."""
    layers = NETWORKS[name].style_layers
    extractor = Extractor(Backbone(name), layers, random_weights(name))
    gradients = []
    for checkpointing in (False, True):
        extractor.checkpointing = checkpointing
        pixels = torch.ones(1, 3, 48, 48).cumsum(3).div(48).requires_grad_()
        total = sum(feat.square().mean() for feat in extractor(pixels).values())
        gradients.append(torch.autograd.grad(total, pixels)[0])  # type: ignore[arg-type]
    torch.testing.assert_close(*gradients)
