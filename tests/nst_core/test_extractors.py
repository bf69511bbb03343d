from collections.abc import Callable

import pytest
import torch
import torchvision

from nst_core.extractors import Extractor
from nst_core.networks import NETWORKS
from nst_core.weights import Weights


@pytest.mark.parametrize("name", list(NETWORKS))
def test_features_equal_torchvision(name: str, random_weights: Callable[[str], Weights]) -> None:
    """At every layer the features are those of torchvision's own forward pass."""
    weights = random_weights(name)
    pixels = torch.rand(2, 3, 64, 48)
    found = Extractor(name, NETWORKS[name].layers, weights)(pixels)
    oracle = torchvision.models.get_model(name, weights=None).eval()
    oracle.load_state_dict(dict(weights), strict=False)
    value = pixels
    for index, layer in enumerate(NETWORKS[name].layers):
        # Cloned, since torchvision's ReLUs work in place.
        value = oracle.features[index](value.clone())
        torch.testing.assert_close(found[layer], value)
    assert len(found) == len(NETWORKS[name].layers)


def test_cut_after_the_deepest_layer(random_weights: Callable[[str], Weights]) -> None:
    """Nothing is computed after the deepest layer asked for."""
    extractor = Extractor("vgg16", ["relu2_1", "relu1_1"], random_weights("vgg16"))
    convolutions = [m for m in extractor.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 3
    assert not any(p.requires_grad for p in extractor.parameters())


def test_a_convolution_is_not_overwritten_by_its_relu(
    random_weights: Callable[[str], Weights],
) -> None:
    """conv4_2 keeps its negative values although relu4_2 runs after it."""
    features = Extractor("vgg16", ["conv4_2", "relu4_2"], random_weights("vgg16"))(
        torch.rand(1, 3, 32, 32)
    )
    assert (features["conv4_2"] < 0).any()
    assert (features["relu4_2"] >= 0).all()


def test_unknown_layers_get_a_near_miss() -> None:
    """A wrong layer name is answered with the nearest right one."""
    assert "did you mean `relu4_2`" in str(NETWORKS["vgg16"].problem_with("relu42"))
