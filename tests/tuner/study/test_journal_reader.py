"""The fast reader of journals, compared with Optuna."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.support.made_run import made_run
from tuner.study.journal_reader import UnknownRecordError, read_journal
from tuner.study.storage import load_study
from tuner.study.study import load_records

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*/*/study.journal"))


def same_as_optuna(folder: Path) -> None:
    trials, notes = read_journal(folder / "study.journal")
    study = load_study(folder).study
    expected = study.get_trials(deepcopy=False)
    assert notes == study.user_attrs
    assert len(trials) == len(expected)
    for trial, wanted in zip(trials, expected, strict=True):
        assert trial.number == wanted.number
        assert trial.state == wanted.state
        assert trial.params == wanted.params
        assert trial.user_attrs == wanted.user_attrs


@pytest.mark.parametrize("over", [True, False])
def test_a_run_is_read_as_by_optuna(tmp_path: Path, pictures: Path, over: bool) -> None:
    """Trials, parameters, attributes, states and notes are those that Optuna reads."""
    same_as_optuna(made_run(tmp_path / "run", pictures, over=over))


@pytest.mark.parametrize("journal", GOLDEN, ids=lambda path: path.parent.name)
def test_old_runs_are_read_as_by_optuna(journal: Path) -> None:
    """Runs of every released format are read as by Optuna."""
    same_as_optuna(journal.parent)


def test_half_a_line_is_ignored(tmp_path: Path, pictures: Path) -> None:
    """An incomplete last line, which a driver is still writing, is ignored."""
    folder = made_run(tmp_path / "run", pictures, trials=4)
    before = load_records(folder)
    with (folder / "study.journal").open("a") as file:
        file.write('{"op_code": 8, "trial_id": 0, "user_attr": {"no')
    assert load_records(folder) == before


@pytest.mark.parametrize(
    "record",
    [
        {"op_code": 1, "study_id": 0},
        {"op_code": 0, "study_name": "another", "directions": [1]},
        {"op_code": 4, "study_id": 0, "datetime_start": None, "state": 4, "user_attrs": {}},
        {"op_code": 8, "trial_id": 99, "user_attr": {"a": 1}},
        {"op_code": 77},
    ],
)
def test_unknown_records_are_left_to_optuna(
    record: dict[str, object], tmp_path: Path, pictures: Path
) -> None:
    """A record of an unknown kind raises UnknownRecordError."""
    folder = made_run(tmp_path / "run", pictures, trials=4)
    with (folder / "study.journal").open("a") as file:
        file.write(json.dumps(record | {"worker_id": "w"}) + "\n")
    with pytest.raises(UnknownRecordError):
        read_journal(folder / "study.journal")


def test_optuna_reads_unknown_records(tmp_path: Path, pictures: Path) -> None:
    """A run with a record of an unknown kind is read by Optuna."""
    folder = made_run(tmp_path / "run", pictures, trials=4)
    before = load_records(folder)
    record = {"op_code": 8, "trial_id": 99, "user_attr": {"a": 1}, "worker_id": "w"}
    with (folder / "study.journal").open("a") as file:
        file.write(json.dumps(record) + "\n")
    assert load_records(folder) == before
