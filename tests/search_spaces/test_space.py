from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nst_core.config import DEFAULT_LR
from nst_core.errors import ConfigError
from search_spaces import Space, space_from_dict, space_to_dict

SPACE = {
    "name": "mine",
    "why": "because",
    "fixed": {"extractor": "vgg19"},
    "starts": [{"log10_style_content": 1, "tv": False, "content_layer": "conv4_2"}],
    "params": {
        "log10_style_content": {"low": 0, "high": 2},
        "tv": {"options": [False, True]},
        "tv_weight": {"low": 1e-3, "high": 1, "log": True, "when": {"tv": True}},
        "content_layer": {"options": ["conv4_2", "relu3_4"]},
    },
}


def space_of(params: dict[str, Any], **content: Any) -> Space:
    return space_from_dict({"name": "x", "why": "", "params": params, **content}, "x.yaml")


def test_a_users_space() -> None:
    """A space from plain data works like a named one, also with booleans for on and off."""
    space = space_from_dict(SPACE, "mine.yaml")
    config = space.build({"log10_style_content": 1.0, "tv": "off", "content_layer": "relu3_4"})
    assert config.extractor == "vgg19"
    assert config.content_layers == {"relu3_4": 1.0}
    assert (config.style_weight, config.tv_weight) == (10.0, 0.0)
    assert space.build(space.initial_points[0]).content_layers == {"conv4_2": 1.0}
    with pytest.raises(ConfigError, match=r"`starts.0`.*9"):
        space_from_dict({**SPACE, "starts": [{"log10_style_content": 9}]}, "mine.yaml")


def test_wrong_parameters_are_all_named() -> None:
    """Unknown, missing, inactive and out-of-range values are refused together."""
    space = space_from_dict(SPACE, "mine.yaml")
    wrong = {"log10_style_content": 9, "tv": "off", "tv_weight": 0.1, "contentlayer": "relu3_4"}
    with pytest.raises(ConfigError) as caught:
        space.build(wrong)
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    for part in ("did you mean `content_layer`", "unless tv is on", "0 … 2, got 9", "missing"):
        assert part in text


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"lrr": {"low": 0, "high": 1}}, "did you mean `lr`"),
        ({"lr": {"low": 0, "high": 1, "log": True}}, "low above 0"),
        ({"lr": {"low": 2, "high": 1}}, "above high"),
        ({"lr": {"low": "a"}}, "expected a number"),
        ({"lr": {"low": 1, "high": 2, "opions": 1}}, "did you mean `options`"),
        ({"init": {"options": ["contnt"]}}, "did you mean `content`"),
        ({"content_layer": {"options": ["relu4_9"]}}, "relu4_9"),
        ({"style_set": {"options": []}}, "at least one option"),
        ({"lr": {"low": 0.1, "high": 1, "when": {"tv": "on"}}}, "declared before"),
        ({"lr": 3}, "expected {low, high}"),
        ({"lr": {"options": ["0.1"]}}, "low and high, it is a number"),
        ({"style_set": {"low": 0, "high": 1}}, "options, it is a choice"),
        ({"style_layers": {"options": ["relu1_1"]}}, "search style_set"),
        ({"tv": {"options": ["on"]}, "lr": {"low": 1, "high": 2, "when": {"tv": []}}}, "one value"),
        ({"lr@": {"low": 0.1, "high": 1}}, "a word after the @"),
        ({"lr_adam": {"low": 0.1, "high": 1}}, "did you mean `lr@adam`"),
        ({"lr": {"low": 0.1, "high": 1}, "lr@b": {"low": 1, "high": 2}}, "sets the same as `lr`"),
        ({"style_set": {"options": ["conv1-layer3"]}}, "`conv1`: vgg16 has no such layer"),
        ({"log10_blend_3": {"low": 0, "high": 1}}, "expected log10_blend_2"),
        ({"lr": {"low": -1, "high": 1}}, "lr"),
        ({"steps": {"low": 10, "high": 90}}, "set halving.max_steps in the job"),
        ({"size_px": {"low": 64, "high": 90}}, "set size_px in the job"),
        ({"seed": {"low": 0, "high": 9}}, "search.seed and finals.seeds"),
        ({"log10_style_content": {"low": 1, "high": 1000}}, "base 10, from -12 to 12, got 1000"),
        ({"log10_blend_2": {"low": -400, "high": 1}}, "base 10, from -12 to 12, got -400"),
        ({"style_depth": {"low": 0, "high": 3}}, "layers of vgg16, from 1 to 5, got 0"),
        ({"style_depth": {"low": 1, "high": 99}}, "layers of vgg16, from 1 to 5, got 99"),
        ({}, "at least one parameter"),
        ([], "expected parameters"),
    ],
)
def test_bad_declarations_say_why(params: object, expected: str) -> None:
    """The error about an invalid declaration names the problem."""
    with pytest.raises(ConfigError, match=expected):
        space_from_dict({"name": "x", "why": "", "params": params}, "x.yaml")


OPTIMIZERS: dict[str, Any] = {
    "optimizer": {"options": ["adam", "sgd", "lbfgs"]},
    "lr@adam": {"low": 0.01, "high": 0.1, "log": True, "when": {"optimizer": "adam"}},
    "lr@sgd": {"low": 1, "high": 100, "log": True, "when": {"optimizer": "sgd"}},
}


def test_what_the_job_sets_is_not_fixed() -> None:
    """A space may not fix the size, the steps or the seed, which the job sets."""
    fixed = {"steps": 50, "size_px": 512, "seed": 1, "schedule_steps": 9}
    with pytest.raises(ConfigError) as caught:
        space_of({"lr": {"low": 0.1, "high": 1}}, fixed=fixed)
    assert [p.split(":")[0] for p in caught.value.problems] == [f"`fixed.{key}`" for key in fixed]


def test_two_choices_that_do_not_go_together_are_found() -> None:
    """Combinations of ends that give no valid configuration are found."""
    params = {
        "style_set": {"options": ["relu1_1-5_1", "relu1_1-3_1"]},
        "style_scheme": {"options": ["equal", "explicit"]},
        "log10_layer_4": {"low": -1, "high": 1, "when": {"style_scheme": "explicit"}},
    }
    with pytest.raises(ConfigError, match=r"relu1_1-3_1.*explicit.*only 3 style layers"):
        space_of(params)


def test_a_first_layer_without_weight_compares_with_nothing() -> None:
    """An explicit layer weight needs a first layer with a weight above 0."""
    fixed = {"style_layers": {"relu1_1": 0, "relu2_1": 1}}
    with pytest.raises(ConfigError, match="relu1_1, whose weight is 0"):
        space_of({"log10_layer_2": {"low": -1, "high": 1}}, fixed=fixed)


def test_what_is_fixed_is_checked_with_what_is_drawn() -> None:
    """Layers are checked against the fixed network of the space."""
    params = {"extractor": {"options": ["resnet18"]}, "lr": {"low": 0.1, "high": 1}}
    fixed = {"content_layers": {"layer1": 1}, "style_layers": {"layer1": 1}}
    space = space_of(params, fixed=fixed)
    assert space.build({"extractor": "resnet18", "lr": 0.5}).content_layers == {"layer1": 1.0}


def test_starts_are_completed_by_all_their_conditions() -> None:
    """Missing choices get a value that satisfies the conditions of the given parameters."""
    params = {
        "optimizer": {"options": ["adam", "adamw", "sgd"]},
        "lr@adam": {"low": 0.01, "high": 1, "when": {"optimizer": ["adam", "sgd"]}},
        "lr@adamw": {"low": 0.01, "high": 1, "when": {"optimizer": "adamw"}},
        "beta2": {"low": 0.9, "high": 0.99, "when": {"optimizer": ["adam", "adamw"]}},
    }
    start = {"lr@adamw": 0.02, "beta2": 0.95}
    assert space_of(params, starts=[start]).initial_points[0] == {"optimizer": "adamw", **start}


def test_a_parameter_has_variants_by_condition() -> None:
    """Each optimizer has its own range of learning rates, or its default."""
    space = space_of(OPTIMIZERS)
    assert space.build({"optimizer": "adam", "lr@adam": 0.05}).lr == 0.05
    assert space.build({"optimizer": "sgd", "lr@sgd": 50.0}).lr == 50.0
    assert space.build({"optimizer": "lbfgs"}).lr == DEFAULT_LR["lbfgs"]
    assert space_of(OPTIMIZERS, fixed={"lr": 0.7}).build({"optimizer": "lbfgs"}).lr == 0.7
    with pytest.raises(ConfigError, match="no effect unless optimizer is sgd"):
        space.build({"optimizer": "adam", "lr@adam": 0.05, "lr@sgd": 50.0})


@pytest.mark.parametrize(
    ("condition", "excluded"),
    [({"optimizer": ["sgd"]}, True), ({"optimizer": ["sgd", "adam"]}, False), ({}, False)],
)
def test_variants_exclude_each_other(condition: dict[str, list[str]], excluded: bool) -> None:
    """Two variants that could be drawn together are refused."""
    params = {**OPTIMIZERS, "lr@sgd": {"low": 1, "high": 100, "when": condition}}
    if excluded:
        space_of(params)
    else:
        with pytest.raises(ConfigError, match=r"`params\.lr@sgd`: sets the same as `lr@adam`"):
            space_of(params)


NETWORKS: dict[str, Any] = {
    "extractor": {"options": ["vgg16", "resnet18"]},
    "style_set@vgg16": {"options": ["relu1_1-3_1"], "when": {"extractor": "vgg16"}},
    "style_set@resnet18": {"options": ["conv1-layer3"], "when": {"extractor": "resnet18"}},
    "style_scheme": {"options": ["deep"]},
}


def test_layers_hang_on_the_network() -> None:
    """Each network has its own choice of layers with a common scheme."""
    config = space_of(NETWORKS).build(
        {"extractor": "resnet18", "style_set@resnet18": "conv1-layer3", "style_scheme": "deep"}
    )
    assert list(config.style_layers) == ["conv1", "layer1", "layer2", "layer3"]
    assert config.style_layers["layer3"] == pytest.approx(8 / 15)
    open_ended = {**NETWORKS, "style_set@resnet18": {"options": ["conv1-layer3"]}}
    with pytest.raises(ConfigError, match="`conv1`: vgg16 has no such layer"):
        space_of(open_ended)
    for layer in ("relu4_2", "layer1"):  # each is one of the two networks' alone
        with pytest.raises(ConfigError, match=f"`{layer}`"):
            space_of({**NETWORKS, "content_layer": {"options": [layer]}})


def test_layers_are_weighed_against_the_first() -> None:
    """log10_layer_N is the N-th layer's weight over the first's; in all they weigh 1."""
    weights = {f"log10_layer_{n}": {"low": -2, "high": 2} for n in (2, 3)}
    space = space_of({"style_set": {"options": ["relu1_1-3_1"]}, **weights})
    layers = space.build(
        {"style_set": "relu1_1-3_1", "log10_layer_2": 1.0, "log10_layer_3": -0.5}
    ).style_layers
    assert sum(layers.values()) == pytest.approx(1)
    first, second, third = layers.values()
    assert (second / first, third / first) == pytest.approx((10, 10**-0.5))
    deeper = {"style_set": {"options": ["relu1_1-3_1", "relu1_1-2_1"]}, **weights}
    with pytest.raises(ConfigError, match=r"`style_set` = relu1_1-2_1: .*only 2 style layers"):
        space_of(deeper)


BLEND = {f"log10_blend_{n}": {"low": -1, "high": 1} for n in (2, 3)}


def test_style_images_are_weighed_against_the_first() -> None:
    """log10_blend_N is the N-th style image's weight over the first's; in all they weigh 1."""
    space = space_of(BLEND)
    blend = space.build({"log10_blend_2": 1.0, "log10_blend_3": -1.0}).style_blend
    assert blend == pytest.approx((1 / 11.1, 10 / 11.1, 0.1 / 11.1))


def test_weights_of_images_that_there_are_not_are_left_out() -> None:
    """A blend and its initial points fit any number of style images up to its maximum."""
    space = space_of(BLEND, starts=[{"log10_blend_2": 0.5, "log10_blend_3": 0.5}])
    assert space.style_images == range(2, 4)
    assert space.for_style_images(3) is space
    two = space.for_style_images(2)
    assert (list(two.params), two.initial_points) == (["log10_blend_2"], ({"log10_blend_2": 0.5},))
    assert len(two.build(two.initial_points[0]).style_blend or ()) == 2
    lr = {"lr": {"low": 0.1, "high": 1}}
    assert space_of(lr).style_images is None
    assert space_of(lr, fixed={"style_blend": [1, 2]}).style_images == range(2, 3)
    switched = {"tv": {"options": ["on", "off"]}, **BLEND}
    switched["log10_blend_3"] = {"low": 0, "high": 1, "when": {"tv": "on"}}
    with pytest.raises(ConfigError, match="same condition"):
        space_of(switched)


def test_starts_may_leave_parameters_open() -> None:
    """An incomplete initial point is completed by the conditions of its parameters only."""
    space = space_of(OPTIMIZERS, starts=[{"lr@sgd": 10}, {}])
    assert space.initial_points == ({"lr@sgd": 10, "optimizer": "sgd"}, {})


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ({"lr@sgd": 1000}, r"`starts.0`: `lr@sgd`: expected 1 … 100, log scale, got 1000"),
        ({"lr@sgd": 10, "optimizer": "adam"}, "`starts.0`: `lr@sgd`: has no effect unless"),
        ({"lr@sgd": 10, "lr@adam": 0.1}, "no effect unless"),
        ({"lr@sdg": 10}, "did you mean `lr@sgd`"),
    ],
)
def test_bad_starts_say_why(start: dict[str, object], expected: str) -> None:
    """An initial point that is out of range or violates a condition is refused."""
    with pytest.raises(ConfigError, match=expected):
        space_of(OPTIMIZERS, starts=[start])


def test_what_a_space_may_set() -> None:
    """`may_set` returns options and ends of all variants, and the value without any of them."""
    space = space_of({**OPTIMIZERS, "photo_weight": {"low": 1, "high": 9}}, fixed={"init": "noise"})
    assert space.may_set("optimizer") == ("adam", "sgd", "lbfgs")
    assert space.may_set("photo_weight") == (1, 9)
    assert space.may_set("init") == ("noise",)
    assert space.may_set("lr") == (0.01, 0.1, 1, 100, DEFAULT_LR["adam"])
    assert space.may_set("padding") == ("zeros",)


@given(
    st.dictionaries(
        st.sampled_from(["name", "why", "fixed", "params", "x"]),
        st.none()
        | st.text(max_size=3)
        | st.dictionaries(
            st.sampled_from(["lr", "lr@x", "init", "tv", "style_set", "log10_layer_3", "x"]),
            st.none()
            | st.floats()
            | st.dictionaries(
                st.sampled_from(["low", "high", "log", "options", "when"]),
                st.none() | st.floats() | st.booleans() | st.lists(st.text(max_size=2), max_size=2),
            ),
        ),
    )
)
def test_any_data_is_a_space_or_a_config_error(content: dict[str, Any]) -> None:
    """Any file content gives a space or a ConfigError."""
    try:
        space_from_dict(content, "x.yaml")
    except ConfigError as error:
        assert error.problems


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ({"style_slope": -1.0}, [100, 10, 1]),
        ({"style_slope": 0.5}, [1, 10**0.5, 10]),
    ],
)
def test_style_weights_follow_a_slope(drawn: dict[str, float], expected: list[float]) -> None:
    """A slope sets the ratios of the style weights over depth; their sum stays 1."""
    params = {name: {"low": -1, "high": 1} for name in drawn}
    space = space_of({"style_set": {"options": ["relu1_1-3_1"]}, **params})
    weights = list(space.build({"style_set": "relu1_1-3_1", **drawn}).style_layers.values())
    assert weights == pytest.approx([value / sum(expected) for value in expected])


def test_a_slope_beyond_its_limit_is_refused() -> None:
    """A slope that would leave one layer with all the weight is an error of the space."""
    with pytest.raises(ConfigError, match=r"style_slope.*decades per layer, from -3 to 3, got 4"):
        space_of({"style_slope": {"low": 0, "high": 4}})


def test_versions_of_a_space_are_whole_numbers() -> None:
    """A space's version is 1 unless the file says otherwise, and only a whole number is one."""
    assert space_from_dict(SPACE, "mine.yaml").version == 1
    assert "version" not in space_to_dict(space_from_dict(SPACE, "mine.yaml"))
    second = space_from_dict({**SPACE, "version": 2}, "mine.yaml")
    assert space_to_dict(second)["version"] == 2
    with pytest.raises(ConfigError, match=r"`version`: expected a whole number from 1, got '2'"):
        space_from_dict({**SPACE, "version": "2"}, "mine.yaml")
