"""Built-in presets: five reported systems and four public engines. This module does not load torch.

`published` contains the original numbers. Where the original formula differs from ours by a factor,
the weights include this factor and the note says so (`docs/reference/conversions.md` derives the
factors).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError, PresetError, near_miss
from nst_core.files import foreign_path, read_limited, text_of
from nst_core.networks.registry import NETWORKS
from nst_core.presets.preset import Preset, StylizerPreset, own_preset, preset_from_json

#: Largest preset file that is read; a preset is about one page of text.
MAX_PRESET_BYTES = 1_000_000


def _built_in(
    kind: str, name: str, description: str, published: Mapping[str, str], **config: Any
) -> Preset:
    try:
        return Preset(
            name=name,
            description=description,
            config=StyleConfig.from_dict(config),
            provenance={"kind": kind, "published": dict(published)},
        )
    except ConfigError as error:
        raise AssertionError(f"built-in preset {name}: {error}") from error


def _per_block(weights: tuple[float, ...], kind: str = "conv") -> dict[str, float]:
    """Return weights of the first layer of each VGG block."""
    return {f"{kind}{block}_1": weight for block, weight in enumerate(weights, start=1)}


_ADAM_1000 = _built_in(
    "baseline",
    "adam-1000",
    "Gatys loss, content 1, style 1e6, Adam 0.01, 1000 steps",
    {
        "extractor": "VGG19, ImageNet weights, ReLU not in place",
        "content": "1/2 mean square, weight 1",
        "style": "Gatys et al.: squared Gram error over 4 N^2 M^2, weight 1e6",
        "optimizer": "Adam, lr 0.01, 1000 steps",
        "image": "starts from the content, ImageNet normalization, clamped only when saved",
        "note": "the factors 1/2 and 1/4 are part of the weights here: 0.5 and 2.5e5; the layers"
        " are those of Gatys et al., because the report names none",
    },
    extractor="vgg19",
    content_layers={"conv4_2": 1.0},
    style_layers=_per_block((0.2,) * 5),
    content_weight=0.5,
    style_weight=2.5e5,
    lr=0.01,
    steps=1000,
    clamp="save",
)

_LAYERED_2000 = _built_in(
    "baseline",
    "layered-2000",
    "layer weights 1.0/0.8/0.4/0.2/0.1, content 5, style 1e9, Adam 0.001, 2000 steps",
    {
        "extractor": "VGG19",
        "style_layers": "conv1_1..conv5_1, 1.0/0.8/0.4/0.2/0.1 (also 0.4/0.3/0.2/0.2/0.2)",
        "content_layers": "conv4_2",
        "weights": "content 5, style 1e9",
        "optimizer": "Adam, lr 0.001 (also 0.07), 2000 steps, 300 px",
        "normalization": "mean and std 0.5",
        "note": "Gram matrices are divided by C H W, as in published code with weights of 1e9",
    },
    extractor="vgg19",
    content_layers={"conv4_2": 1.0},
    style_layers=_per_block((1.0, 0.8, 0.4, 0.2, 0.1)),
    content_weight=5.0,
    style_weight=1e9,
    gram="per_element",
    normalization="half",
    lr=0.001,
    steps=2000,
    size_px=300,
    clamp="save",
)

_LBFGS_RESNET18 = _built_in(
    "baseline",
    "lbfgs-resnet18",
    "ResNet-18, content 1, style 1e6, total variation, L-BFGS 1000 steps",
    {
        "extractor": "ResNet-18: content layer1, style conv1, layer1, layer2, layer3",
        "vgg16": "content relu2_2, style relu1_2, relu2_2, relu3_3, relu4_3",
        "vgg19": "content relu4_2, style relu1_1, 2_1, 3_1, 4_1, 4_2, 5_1",
        "weights": "content 1, style 1e6, total variation",
        "optimizer": "L-BFGS 1000 steps (1500 and 2000 no better); Adam lr 0.1; AdamW lr 0.01",
        "scores": "against AdaIN outputs, RMSE / PSNR / SSIM: L-BFGS 0.01187 / 38.528 / 0.8864,"
        " Adam 0.01270 / 38.001 / 0.8785, AdamW 0.01238 / 38.235 / 0.8801",
        "note": "Gram matrices are divided by C H W; the report does not name the weight of the"
        " total variation; 1 is used here",
    },
    extractor="resnet18",
    content_layers={"layer1": 1.0},
    style_layers={"conv1": 1.0, "layer1": 1.0, "layer2": 1.0, "layer3": 1.0},
    style_weight=1e6,
    gram="per_element",
    tv_weight=1.0,
    optimizer="lbfgs",
    lr=1.0,
    steps=1000,
    clamp="save",
)

_TV_AMP = _built_in(
    "baseline",
    "tv-amp",
    "content, Gram style and total variation in float16, Adam 5.0 on a 0-255 scale, height 224",
    {
        "extractor": "VGG19, Caffe preprocessing (0-255 BGR)",
        "optimizer": "Adam, lr 5.0 on pixels 0-255 (lr 100 diverges to infinity)",
        "size": "height 224",
        "precision": "mixed, with loss scaling",
        "note": "5.0 of 255 is 0.0196 of [0, 1]; the report names neither weights nor steps; used"
        " here are content 1, style 0.01, tv 1e5 and 500 steps",
    },
    extractor="vgg19",
    normalization="caffe",
    precision="float16",
    content_layers={"conv4_2": 1.0},
    style_layers=_per_block((0.2,) * 5),
    style_weight=0.01,
    tv_weight=1e5,
    lr=5.0 / 255,
    steps=500,
    size_px=224,
    clamp="save",
)

_WEIGHTED_LAYERS = _built_in(
    "baseline",
    "weighted-layers",
    "layer weights 0.5/0.4/0.5/0.8/0.4, content 1, style 1e6, Adam 0.003, 2000 steps",
    {
        "extractor": "VGG19",
        "style_layers": "conv1_1..conv5_1, 0.5/0.4/0.5/0.8/0.4",
        "content_layers": "conv4_2 (also conv5_2)",
        "weights": "content 1, style 1e6 (also 5e6; 1e2/1e4)",
        "optimizer": "Adam, lr 0.003 (0.001), 1000-2000 steps, at most 400 px",
        "styles": "two blended by averaging Grams, 0.5/0.5 and 0.2/0.8",
        "note": "Gram matrices are divided by C H W",
    },
    extractor="vgg19",
    content_layers={"conv4_2": 1.0},
    style_layers=_per_block((0.5, 0.4, 0.5, 0.8, 0.4)),
    style_weight=1e6,
    gram="per_element",
    lr=0.003,
    steps=2000,
    size_px=400,
    clamp="save",
)

_NEURAL_STYLE_PT = _built_in(
    "engine",
    "neural-style-pt",
    "defaults of neural-style-pt: content 5, style 100, TV 1e-3, L-BFGS 1000 steps, 512 px",
    {
        "source": "github.com/ProGamerGov/neural-style-pt, neural_style.py",
        "extractor": "VGG19 converted from Caffe, BGR 0-256 less the mean, max pooling",
        "layers": "content relu4_2, style relu1_1 .. relu5_1, weight 1 each",
        "weights": "content 5, style 100 (Gram over C H W), TV 1e-3 (absolute, summed)",
        "optimizer": "L-BFGS, lr 1, history 100, 1000 steps; clamped only when saved",
        "init": "mean color with noise of 0.001",
        "note": "for the same features, use Caffe's weights with `--weights vgg19=FILE`; its TV is"
        " a sum, converted for 512x384 px; pixels go up to 256 there, to 255 here",
    },
    extractor="vgg19",
    normalization="caffe",
    content_layers={"relu4_2": 1.0},
    style_layers=_per_block((1.0,) * 5, "relu"),
    content_weight=5.0,
    style_weight=100.0,
    gram="per_element",
    tv_weight=1e-3 * 256 * 3 * 512 * 384,  # as `conversions` derives it, for 512x384
    tv_norm="l1",
    optimizer="lbfgs",
    lr=1.0,
    lbfgs_history=100,
    steps=1000,
    size_px=512,
    init="mix",
    init_noise=1.0,
    clamp="save",
)

_STYLE_TRANSFER_PYTORCH = _built_in(
    "engine",
    "style-transfer-pytorch",
    "defaults of crowsonkb's engine: Wasserstein style, 128 to 512 px, Adam 0.02, average kept",
    {
        "source": "github.com/crowsonkb/style-transfer-pytorch, style_transfer.py",
        "extractor": "VGG19, torchvision's weights, max pooling, replicate padding at the input",
        "layers": "content relu4_2, style relu1_1 .. relu5_1, 256/64/16/4/1 of 341",
        "weights": "content 0.015, style 1 (Wasserstein-2 over C), TV 2",
        "optimizer": "Adam, lr 0.02, betas 0.9 and 0.99, moments carried across scales",
        "scales": "128, 181, 256, 362, 512 px; 1000 steps at the first, 500 at each other",
        "result": "moving average of the iterates, decay 0.99; clamped after every step",
        "note": "its TV includes diagonals, so that it is between 2/3 of ours and equal; its"
        " average is also the start of the next scale, ours is not",
    },
    extractor="vgg19",
    padding="replicate_first",
    content_layers={"relu4_2": 1.0},
    style_layers=_per_block((256 / 341, 64 / 341, 16 / 341, 4 / 341, 1 / 341), "relu"),
    content_weight=0.015,
    style_weight=1.0,
    style_loss="wasserstein",
    tv_weight=2.0,
    lr=0.02,
    beta2=0.99,
    steps=3000,
    scales=5,
    size_px=512,
    keep="ema",
    ema_decay=0.99,
)

_NEURAL_STYLE = _built_in(
    "engine",
    "neural-style",
    "defaults of anishathalye's engine: content 5, style 500, TV 100, Adam 10 on a 0-255 scale",
    {
        "source": "github.com/anishathalye/neural-style, neural_style.py and stylize.py",
        "extractor": "VGG19 of MatConvNet, 0-255 less the mean, max pooling",
        "layers": "content relu4_2, style relu1_1 .. relu5_1, 1/5 each",
        "weights": "content 5, style 500 (Gram over C H W), TV 100 (means of squares on 0-255)",
        "optimizer": "Adam, lr 10 on 0-255, 1000 steps; the best iterate is kept",
        "init": "noise; the content's own size",
        "note": "its TV is 255^2 times ours; 10 of 255 is 0.0392 of [0, 1]; for similar features,"
        " use Caffe's weights with `--weights vgg19=FILE`",
    },
    extractor="vgg19",
    normalization="caffe",
    content_layers={"relu4_2": 1.0},
    style_layers=_per_block((0.2,) * 5, "relu"),
    content_weight=5.0,
    style_weight=500.0,
    gram="per_element",
    tv_weight=100 * 255.0**2,
    lr=10 / 255,
    steps=1000,
    size_px=512,
    init="noise",
    clamp="save",
    keep="best",
)

_PYSTICHE = _built_in(
    "engine",
    "pystiche",
    "pystiche's beginner example: content 1, style 1e3, L-BFGS 500 steps",
    {
        "source": "github.com/pystiche/pystiche, examples/beginner/example_nst_with_pystiche.py",
        "extractor": "VGG19, torchvision's weights, max pooling",
        "layers": "content relu4_2, style relu1_1 .. relu5_1, 1/5 each",
        "weights": "content 1, style 1e3 (Gram over H W)",
        "optimizer": "L-BFGS, lr 1, one evaluation a step, history 100, 500 steps",
        "size": "500 px at the shorter side: 667 at the longer one of a 4:3 photo",
    },
    extractor="vgg19",
    content_layers={"relu4_2": 1.0},
    style_layers=_per_block((0.2,) * 5, "relu"),
    style_weight=1e3,
    optimizer="lbfgs",
    lr=1.0,
    lbfgs_history=100,
    steps=500,
    size_px=667,
    clamp="save",
)

#: Presets of reported systems, which every tuning job runs as baselines.
BASELINES: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (_ADAM_1000, _LAYERED_2000, _LBFGS_RESNET18, _TV_AMP, _WEIGHTED_LAYERS)
}

BUILT_IN: Mapping[str, Preset] = {
    **BASELINES,
    **{
        preset.name: preset
        for preset in (_NEURAL_STYLE_PT, _STYLE_TRANSFER_PYTORCH, _NEURAL_STYLE, _PYSTICHE)
    },
}

#: Layers that a report itself used with VGG16 instead of another network.
_ON_VGG16: Mapping[str, Mapping[str, Any]] = {
    "lbfgs-resnet18": {
        "content_layers": {"relu2_2": 1.0},
        "style_layers": {"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0, "relu4_3": 1.0},
    }
}


def load_preset(name_or_path: str) -> Preset:
    """Return a built-in preset by its name, or a preset of our engine from a file.

    Raises:
        PresetError: there is no built-in preset or file of this name, or the file is no preset, or
            one of another stylizer.
        ConfigError: the file's settings are invalid.
    """
    return own_preset(load_any_preset(name_or_path), name_or_path)


def load_any_preset(name_or_path: str) -> Preset | StylizerPreset:
    """Like `load_preset`, for presets of other stylizers as well."""
    if name_or_path in BUILT_IN:
        return BUILT_IN[name_or_path]
    path = Path(os.path.expanduser(name_or_path))  # noqa: PTH111  # `Path.expanduser` fails without a home folder
    try:
        text = text_of(read_limited(path, MAX_PRESET_BYTES))
    except FileNotFoundError:
        hint = near_miss(name_or_path, BUILT_IN)
        raise PresetError(
            f"{name_or_path}: neither a file nor a built-in preset{hint}"
            f" (built in: {', '.join(BUILT_IN)})"
            + (f"; the path {why}" if (why := foreign_path(path)) else "")
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "; `nst-tuner export` takes the preset of a run" if path.is_dir() else ""
        raise PresetError(f"{path}: cannot be read as a preset ({reason}){hint}") from None
    return preset_from_json(text, str(path))


def runnable(
    preset: Preset, has_weights: Callable[[str], bool], *, half: bool = False
) -> tuple[Preset, str | None]:
    """Return the preset, or a similar one that can run here, and a note on the differences.

    Where the weights of VGG19 are missing, its presets run on VGG16, and layers that VGG16 lacks
    become the last layer of their block (``relu3_4`` -> ``relu3_3``). A preset of another network
    runs on VGG16 if its report names layers of VGG16.

    Args:
        preset: preset to run.
        has_weights: function that returns whether the weights of a network are available.
        half: whether float16 is useful: true on CUDA, false on a CPU.

    Returns:
        The preset, changed if necessary; and a note, or None if nothing was changed.
    """
    config, notes = preset.config, []
    if config.precision == "float16" and not half:
        config = config.replace(precision="float32")
        notes.append("float16 is for GPUs; runs in float32")
    if config.extractor != "vgg16" and not has_weights(config.extractor):
        layers = _layers_on_vgg16(preset)
        if layers is not None:
            notes.append(f"no weights for {config.extractor} here; runs on VGG16 instead")
            config = config.replace(extractor="vgg16", **layers)
    return Preset(**{**vars(preset), "config": config}), "; ".join(notes) or None


def _layers_on_vgg16(preset: Preset) -> Mapping[str, Any] | None:
    if preset.config.extractor == "vgg19":
        return {
            "content_layers": _moved(preset.config.content_layers),
            "style_layers": _moved(preset.config.style_layers),
        }
    return _ON_VGG16.get(preset.name)


def _moved(layers: Mapping[str, float]) -> dict[str, float]:
    moved: dict[str, float] = {}
    for layer, weight in layers.items():
        stem = layer.rsplit("_", 1)[0]
        same_block = [name for name in NETWORKS["vgg16"].layers if name.rsplit("_", 1)[0] == stem]
        target = layer if layer in NETWORKS["vgg16"].node else same_block[-1]
        moved[target] = moved.get(target, 0.0) + weight
    return moved
