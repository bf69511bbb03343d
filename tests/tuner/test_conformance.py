"""Optuna's own suites, over the storage and the samplers that runs use."""

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


class TestTheJournal(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> BaseStorage:
        return JournalStorage(BatchingJournal(tmp_path / "journal"))


def maker(request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
    name: SamplerName = request.param
    return lambda: make_sampler(name, seed=0)


class TestSamplers(BasicSamplerTestCase):
    sampler = pytest.fixture(params=["tpe", "cmaes", "nsga2", "random"])(staticmethod(maker))


class TestSamplersOfSeveralObjectives(MultiObjectiveSamplerTestCase):
    sampler = pytest.fixture(params=["tpe", "nsga2", "random"])(staticmethod(maker))
