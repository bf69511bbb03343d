"""Optuna's own test suites for storages and samplers, applied to those that runs use."""

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase
from optuna.testing.pytest_storages import StorageTestCase

from tuner.sampling.optuna_samplers import SamplerName, make_sampler
from tuner.study.journal import BatchingJournal

pytestmark = pytest.mark.filterwarnings("ignore")


class TestJournal(StorageTestCase):
    """The journal passes Optuna's tests of storages."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> BaseStorage:
        return JournalStorage(BatchingJournal(tmp_path / "journal"))


def sampler_maker(request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
    name: SamplerName = request.param
    return lambda: make_sampler(name, seed=0)


class TestSamplers(BasicSamplerTestCase):
    """Every sampler passes Optuna's tests of samplers."""

    sampler = pytest.fixture(params=["gp", "tpe", "cmaes", "nsga2", "random"])(
        staticmethod(sampler_maker)
    )


class TestMultiObjectiveSamplers(MultiObjectiveSamplerTestCase):
    """Every sampler for several objectives passes Optuna's tests of such samplers."""

    sampler = pytest.fixture(params=["gp", "tpe", "nsga2", "random"])(staticmethod(sampler_maker))
