from collections.abc import Callable, Iterator, Mapping

import pytest
import skimage.data
import torch

from nst_core.config import StyleConfig
from nst_core.images.tensors import from_uint8
from nst_core.lanes.assembly import Assembly
from nst_core.lanes.batch import LaneBatch, Outcome
from nst_core.lanes.lane_state import fresh_state
from nst_core.lanes.step import SteppedLane
from nst_core.losses.inputs import LossInputs
from nst_core.losses.targets import FeatureStore
from nst_core.networks.precision import LossScaler, arithmetic
from nst_core.networks.weights import Weights


@pytest.fixture(scope="module")
def inputs() -> LossInputs:
    content, style = (from_uint8(getattr(skimage.data, n)()) for n in ("chelsea", "astronaut"))
    return LossInputs.at_size(content, [(style, 1.0)], 64)


def run(weights: Mapping[str, Weights], config: StyleConfig, inputs: LossInputs):  # type: ignore[no-untyped-def]
    batch = LaneBatch(FeatureStore(weights.__getitem__))
    batch.add("x", config, inputs)
    losses = batch.advance(config.steps)
    return losses, batch.outcomes(losses)[0], batch


SMALL = StyleConfig(
    style_layers={"relu1_1": 1, "relu2_1": 1}, content_layers={"relu2_1": 1}, steps=6, lr=0.01
)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_half_the_digits_give_nearly_the_same(
    precision: str, weights: Mapping[str, Weights], inputs: LossInputs
) -> None:
    """A network of lower precision gives the loss of float32 within a few percent."""
    full, _, _ = run(weights, SMALL, inputs)
    half, outcome, _ = run(weights, SMALL.replace(precision=precision), inputs)
    assert outcome is Outcome.RUNNING
    assert half.total.dtype == torch.float32
    assert half.total.item() == pytest.approx(full.total.item(), rel=0.05)


def test_float16_survives_features_beyond_its_range(
    weights: Mapping[str, Weights], inputs: LossInputs
) -> None:
    """A float16 run stays finite although Caffe's pixels give features above 65504."""
    config = SMALL.replace(
        precision="float16", normalization="caffe", style_layers={"relu3_1": 1}, steps=2
    )
    losses, outcome, batch = run(weights, config, inputs)
    assert outcome is Outcome.RUNNING and torch.isfinite(losses.total).all()
    feats = batch._ready()._step._loss._extractor(torch.full((1, 3, 64, 64), 3e4))
    assert torch.isfinite(feats["relu3_1"]).all() and feats["relu3_1"].max() > 65504


def test_an_overflowing_lane_skips_its_step(
    random_weights: Callable[[str], Weights],
    inputs: LossInputs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lane whose gradient overflows skips its step and lowers its scale; other lanes do not."""
    configs = [SMALL.replace(precision="float16", optimizer=name) for name in ("adam", "lbfgs")]
    states = [fresh_state(c, torch.rand(3, *inputs.height_width)) for c in configs]
    lanes = {
        c.optimizer: SteppedLane(config=c, inputs=inputs, state=s)
        for c, s in zip(configs, states, strict=True)
    }
    assembly = Assembly(FeatureStore(random_weights), lanes)

    def overflowing(total_N: torch.Tensor, pixels: torch.Tensor) -> tuple[torch.Tensor]:
        grad = torch.ones_like(pixels)
        grad[1, 0, 0, 0] = torch.inf
        return (grad,)

    monkeypatch.setattr("torch.autograd.grad", overflowing)
    assembly.advance(1)
    clean, skipped = assembly.state("adam"), assembly.state("lbfgs")
    assert not torch.equal(clean.image_3HW, states[0].image_3HW)
    assert torch.equal(skipped.image_3HW, states[1].image_3HW)
    assert float(skipped.state["optimizer.evaluations"]) == 0
    assert float(clean.state["loss_scale"]) == LossScaler.START
    assert float(skipped.state["loss_scale"]) == LossScaler.START / LossScaler.SHRINK
    assert (float(clean.state["clean_steps"]), float(skipped.state["clean_steps"])) == (1, 0)


def test_scales_grow_again() -> None:
    """The scale doubles after enough steps without overflow."""
    state = {"loss_scale": torch.ones(1), "clean_steps": torch.zeros(1)}
    good = torch.ones(1, dtype=torch.bool)
    for _ in range(LossScaler.GROW_AFTER_STEPS):
        state = LossScaler.adapted(good, state["loss_scale"], state["clean_steps"])
    assert state["loss_scale"].item() == 2 and state["clean_steps"].item() == 0


def set_to_default() -> None:
    """Set TF32 for convolutions only, as torch does at its start."""
    torch.backends.fp32_precision = torch.backends.cudnn.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.fp32_precision = "none"
    torch.backends.cudnn.allow_tf32 = True


@pytest.fixture
def default_flags() -> Iterator[None]:
    set_to_default()
    yield
    set_to_default()


def readable(read: Callable[[], object]) -> object:
    try:
        return read()
    except RuntimeError:  # a program mixed both interfaces
        return RuntimeError


def flags() -> dict[str, object]:
    """Return every setting that a program can read, or `RuntimeError` where torch refuses."""
    backends = torch.backends
    new = {
        "all": backends,
        "cuda": backends.cudnn,
        "cuda.matmul": backends.cuda.matmul,
        "cuda.conv": backends.cudnn.conv,
        "mkldnn": backends.mkldnn,
        "mkldnn.matmul": backends.mkldnn.matmul,
    }
    return {
        **{name: setting.fp32_precision for name, setting in new.items()},
        "matmul.allow_tf32": readable(lambda: backends.cuda.matmul.allow_tf32),
        "cudnn.allow_tf32": readable(lambda: backends.cudnn.allow_tf32),
        "float32_matmul_precision": readable(torch.get_float32_matmul_precision),
    }


#: Ways to choose the precision of float32, each as a program does it.
WAYS = [
    "",
    "cuda.matmul.allow_tf32 = True",
    "cuda.matmul.allow_tf32 = cudnn.allow_tf32 = False",
    "torch.set_float32_matmul_precision('high')",
    "torch.set_float32_matmul_precision('medium')",
    "backends.fp32_precision = 'ieee'",
    "backends.fp32_precision = 'tf32'",
    "backends.fp32_precision = 'bf16'",
    "cudnn.fp32_precision = 'ieee'",
    "cudnn.fp32_precision = 'tf32'",
    "cuda.matmul.fp32_precision = 'tf32'",
    "cudnn.conv.fp32_precision = 'ieee'",
    "backends.fp32_precision = 'ieee'; cudnn.conv.fp32_precision = 'tf32'",
]
NAMES = {
    "torch": torch,
    "backends": torch.backends,
    "cuda": torch.backends.cuda,
    "cudnn": torch.backends.cudnn,
}


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("way", WAYS)
def test_arithmetic_is_as_asked_and_puts_settings_back(
    way: str, precision: str, default_flags: None
) -> None:
    """TF32 is on only if asked, whatever a program set; settings are restored after an error."""
    exec(way, NAMES)
    before = flags()
    with pytest.raises(KeyError), arithmetic(precision, torch.device("cuda")):
        for operation in (torch.backends.cuda.matmul, torch.backends.cudnn.conv):
            assert (operation.fp32_precision == "tf32") == (precision != "float32")
        raise KeyError
    assert flags() == before


@pytest.mark.parametrize("precision", ["float32", "tf32"])
@pytest.mark.parametrize("way", WAYS)
def test_arithmetic_leaves_no_setting_of_its_own(
    way: str, precision: str, default_flags: None
) -> None:
    """A later setting for all operations has the same effect as without `arithmetic`."""
    seen = []
    for block in (False, True):
        set_to_default()
        exec(way, NAMES)
        if block:
            with arithmetic(precision, torch.device("cuda")):
                pass
        for later in ("cudnn.fp32_precision = 'tf32'", "cudnn.fp32_precision = 'ieee'"):
            exec(later, NAMES)
            seen.append(flags())
    assert seen[:2] == seen[2:]


def test_arithmetic_changes_nothing_on_a_cpu(default_flags: None) -> None:
    """Settings stay as they are for a device other than CUDA."""
    before = flags()
    with arithmetic("tf32", torch.device("cpu")):
        assert flags() == before
