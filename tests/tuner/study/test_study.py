"""The study of a run: draws, records, repeated calls, and repair."""

from pathlib import Path
from typing import Any

import pytest

from nst_core.errors import RunError
from search_spaces import CATALOGUE
from tuner.job.objective import Goals, Objective
from tuner.job.spec import SamplerName
from tuner.sampling.draw import Draw
from tuner.sampling.optuna_samplers import STARTUP
from tuner.study.records import RungRecord
from tuner.study.run_files import STUDY_FILE
from tuner.study.study import RunStudy, load_records

GOALS = Goals(objectives=[Objective(weights={"lpips": 1.0})])
SETTINGS = {"goals": GOALS}
SPACE = CATALOGUE["gram"]


def rung(value: float) -> RungRecord:
    return RungRecord(objective=value, scores={"lpips": value}, seconds=value)


def run_one(study: RunStudy, value: float, sampler: SamplerName = "tpe") -> dict[str, object]:
    number = study.begin()
    params = Draw(study, SPACE, goals=GOALS, sampler=sampler, seed=1)(number)
    study.assign(number, SPACE.build(params).to_dict())
    study.report(number, 10, rung(value))
    study.finish(number, "complete")
    return dict(params)


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random"])
def test_draws_depend_on_the_study_alone(tmp_path: Path, sampler: SamplerName) -> None:
    """A run interrupted after each trial draws the same parameters as an uninterrupted one."""
    folders = [tmp_path / name for name in ("whole", "broken")]
    drawn = []
    for folder in folders:
        folder.mkdir()
        study = RunStudy.create(folder, **SETTINGS)
        draws = []
        for i in range(STARTUP + 4):
            draws.append(run_one(study, 1 / (i + 1), sampler))
            if folder.name == "broken":
                study = RunStudy.open(folder, **SETTINGS)
        drawn.append(draws)
    assert drawn[0] == drawn[1]
    assert len({str(draw) for draw in drawn[0]}) == STARTUP + 4


def test_simultaneous_drivers_draw_different_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draw depends on the trial's number, not on the trials that its driver has seen."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    studies = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        studies.append(RunStudy.create(tmp_path / name, url=url, name="shared", **SETTINGS))
    one, other = studies
    storage, numbers = one._study._storage, []
    create = storage.create_new_trial

    def late(*arguments: Any) -> int:
        numbers.append(other.begin())
        return create(*arguments)

    monkeypatch.setattr(storage, "create_new_trial", late)
    mine = one.begin()
    assert numbers != [mine]
    first, second = (Draw(s, SPACE, goals=GOALS, sampler="random", seed=1) for s in studies)
    assert first(mine) != second(numbers[0])


def test_records_are_read_back(tmp_path: Path) -> None:
    """States, rungs, reasons and presets are read from the study as they were recorded."""
    study = RunStudy.create(tmp_path, **SETTINGS)
    run_one(study, 0.5)
    number = study.begin()
    study.assign(number, {"lr": 1.0}, preset="adam-1000", note="short")
    study.report(number, 10, rung(0.4))
    study.report(number, 30, rung(0.6))
    study.finish(number, "pruned", "not among the best")
    failed = study.begin()
    study.finish(failed, "failed", "diverged")
    study.note("baselines", {"content": {"lpips": 0.9}})
    records, notes = load_records(tmp_path)
    assert [r.state for r in records] == ["complete", "pruned", "failed"]
    assert records[1].preset == "adam-1000"
    assert records[1].best_rung(GOALS) == (10, rung(0.4))
    assert records[2].reason == "diverged"
    assert notes["baselines"]["content"]["lpips"] == 0.9


def test_recording_twice_changes_nothing(tmp_path: Path) -> None:
    """Reporting a rung or ending a trial twice changes nothing, also after a restart."""
    study = RunStudy.create(tmp_path, **SETTINGS)
    number = study.begin()
    study.report(number, 10, rung(0.5))
    study = RunStudy.open(tmp_path, **SETTINGS)
    assert study.unfinished() == {number: (None, 0)}
    study.revive(number)
    study.report(number, 10, rung(0.7))
    study.finish(number, "complete")
    study.finish(number, "failed", "too late")
    (record,) = study.records()
    assert record.state == "complete"
    assert record.rungs == {10: rung(0.5)}
    assert study.unfinished() == {}


def test_samplers_do_not_learn_from_presets(tmp_path: Path) -> None:
    """Presets with the best scores do not change what TPE draws."""
    study = RunStudy.create(tmp_path, **SETTINGS)
    for _ in range(3):
        number = study.begin()
        study.assign(number, {}, preset="adam-1000")
        study.report(number, 10, rung(0.0))
        study.finish(number, "complete")
    with_presets = [run_one(study, 1 / (i + 1)) for i in range(STARTUP + 4)]
    (tmp_path / "alone").mkdir()
    alone = RunStudy.create(tmp_path / "alone", **SETTINGS)
    for _ in range(3):
        alone.finish(alone.begin(), "failed")
    assert with_presets == [run_one(alone, 1 / (i + 1)) for i in range(STARTUP + 4)]


def test_an_incomplete_last_line_is_removed(tmp_path: Path) -> None:
    """Opening a study removes the incomplete line that a driver left when it was killed."""
    notes = {"baselines": {"content": {"lpips": 0.9}}}
    study = RunStudy.create(tmp_path, notes=notes, **SETTINGS)
    run_one(study, 0.5)
    path = tmp_path / STUDY_FILE
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 6, "trial')
    study = RunStudy.open(tmp_path, **SETTINGS)
    assert path.read_bytes() == whole
    run_one(study, 0.4)
    assert len(load_records(tmp_path)[0]) == 2


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    """A missing or foreign study file is refused."""
    with pytest.raises(RunError, match="not a run directory"):
        load_records(tmp_path)
    (tmp_path / STUDY_FILE).write_text('{"nonsense": 1}\n')
    with pytest.raises(RunError, match="cannot be read"):
        load_records(tmp_path)
