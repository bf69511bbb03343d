"""Training: the loss falls, an interruption changes nothing, bad numbers change nothing."""

from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import pytest
import torch

from nst_core.distill.checkpoints import Checkpoint
from nst_core.distill.photos import Crops
from nst_core.distill.settings import TrainingSettings
from nst_core.distill.training import Trainer, _rate
from nst_core.errors import ConfigError, InputError, WorkError
from nst_core.losses.targets import FeatureStore
from nst_core.networks.weights import Weights
from tests.nst_core.distill.conftest import network_style

SETTINGS = TrainingSettings(network="mobile", steps=8, batch=2)


def trainer(
    weights: object,
    crops: Crops,
    path: Path,
    settings: TrainingSettings = SETTINGS,
    **style: object,
) -> Trainer:
    """Return a trainer with two styles."""
    styles = [network_style(**style), network_style("other", 1)]  # type: ignore[arg-type]
    store = FeatureStore(weights)  # type: ignore[arg-type]
    return Trainer(styles, crops, store, settings, path)


def test_a_killed_training_ends_as_if_nothing_had_happened(
    random_weights: object, crops: Crops, tmp_path: Path
) -> None:
    """Killed three times between checkpoints and resumed, a training ends with equal parameters."""
    whole = trainer(random_weights, crops, tmp_path / "whole")
    losses = [progress.loss for progress in whole.run()]
    for unsaved in (1, 2, 0):
        killed = trainer(random_weights, crops, tmp_path / "killed")
        steps = killed.run(save_every_s=1e9)
        next(steps)
        killed.save()
        for _ in range(unsaved):
            next(steps)
    resumed = trainer(random_weights, crops, tmp_path / "killed")
    assert resumed.step == 3
    tail = [progress.loss for progress in resumed.run()]
    assert tail == pytest.approx(losses[-len(tail) :], rel=1e-4)
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_the_loss_falls(weights: Mapping[str, Weights], crops: Crops, tmp_path: Path) -> None:
    """After some steps, the loss of fixed crops is well below that of the untouched crops."""
    settings = TrainingSettings(network="mobile", steps=48, batch=2, lr=5e-3)
    trained = trainer(weights.__getitem__, crops, tmp_path / "c", settings)
    list(trained.run())
    photos = crops.batch(0, 4)
    with torch.no_grad():
        results = trained._network(photos, torch.ones(4), torch.eye(2)[[0, 0, 1, 1]])
        losses = [
            trained._objective(images, photos, [0, 0, 1, 1], torch.ones(4)).mean()
            for images in (results, photos)
        ]
    assert losses[0] < 0.85 * losses[1]


def test_a_loss_that_is_not_finite_changes_no_parameter(
    random_weights: object, crops: Crops, tmp_path: Path
) -> None:
    """Steps without a finite loss are skipped; too many of them end the training."""
    broken = trainer(random_weights, crops, tmp_path / "c", TrainingSettings(network="mobile"))
    before = [p.clone() for p in broken.network.parameters()]
    bad = torch.tensor(float("nan"), requires_grad=True)
    broken._counters.scales = [1.0, 1.0]
    with (
        mock.patch.object(Trainer, "_loss", lambda self: bad * 1),
        pytest.raises(WorkError, match="smaller learning rate"),
    ):
        list(broken.run())
    after = broken.network.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_another_training_does_not_continue(
    random_weights: object, crops: Crops, tmp_path: Path
) -> None:
    """A checkpoint of other settings is refused with their names; more steps are allowed."""
    trainer(random_weights, crops, tmp_path / "c").save()
    more = TrainingSettings(network="mobile", steps=99, minutes=5, batch=2)
    assert trainer(random_weights, crops, tmp_path / "c", more).step == 0
    other = TrainingSettings(network="mobile", batch=3, lr=0.1)
    with pytest.raises(InputError, match=r"other batch, lr.*begin again"):
        trainer(random_weights, crops, tmp_path / "c", other)
    with pytest.raises(InputError, match="other styles"):
        trainer(random_weights, crops, tmp_path / "c", style_weight=3.0)


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x80\x04pickle"])
def test_a_damaged_checkpoint_is_one_error(content: bytes, tmp_path: Path) -> None:
    """A file that is not a checkpoint is refused, and the message says what to do."""
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(InputError, match="remove it to begin again"):
        Checkpoint.load(tmp_path / "c")
    assert Checkpoint.load(tmp_path / "none") is None


def test_settings_out_of_range_are_one_error() -> None:
    """All settings out of range are listed at once, with the nearest name of a network."""
    with pytest.raises(ConfigError) as caught:
        TrainingSettings(network="mobil", steps=0, batch=0, lr=-1, minutes=0, seed=-1)
    assert len(caught.value.problems) == 6
    assert "did you mean `mobile`" in str(caught.value)


def test_the_time_limit_ends_a_training(
    random_weights: object, crops: Crops, tmp_path: Path
) -> None:
    """A training ends with its time, and its learning rate falls with the time."""
    settings = TrainingSettings(network="mobile", steps=10**6, minutes=1e-9, batch=1)
    assert [
        progress.step for progress in trainer(random_weights, crops, tmp_path / "c", settings).run()
    ] == [1]
    rates = [_rate(share, 1000) for share in (0.0, 0.01, 0.02, 0.5, 1.0)]
    assert rates[0] < rates[1] < rates[2] == 1.0 > rates[3] > rates[4]
    assert rates[4] < 1e-3
