"""The checks of a run directory."""

import shutil
from pathlib import Path

import pytest

from benchmarks.support.made_run import made_run
from tuner.doctor.run_checks import check_run
from tuner.results.results import load_results


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A finished run."""
    return made_run(tmp_path_factory.mktemp("doctor") / "run", pictures, trials=3, presets=0)


@pytest.fixture
def run(intact: Path, tmp_path: Path) -> Path:
    """A copy of the run, which a test may damage."""
    return Path(shutil.copytree(intact, tmp_path / "run"))


def results_of(run: Path) -> dict[str, tuple[bool | None, str]]:
    return {check.name: (check.ok, check.found) for check in check_run(run)}


def test_an_intact_run_passes(run: Path) -> None:
    """All checks of an intact run pass."""
    assert {ok for ok, _ in results_of(run).values()} == {True}


def test_a_damaged_study_names_its_line(run: Path) -> None:
    """The check of a damaged study names the first damaged line and what to do."""
    lines = (run / "study.journal").read_bytes().split(b"\n")
    lines[4] = lines[4][:5]
    (run / "study.journal").write_bytes(b"\n".join(lines))
    ok, found = results_of(run)["study"]
    assert ok is False and f"line 5 of {len(lines) - 1} cannot be read" in found


def test_an_incomplete_last_line_is_a_note(run: Path) -> None:
    """An incomplete last line of the study, from a killed launch, is a note."""
    with (run / "study.journal").open("ab") as file:
        file.write(b'{"op_code"')
    ok, found = results_of(run)["study"]
    assert ok is None and "`resume` removes it" in found


def test_missing_and_damaged_pictures_are_counted(run: Path) -> None:
    """Missing and damaged pictures of trials fail their check, with examples."""
    results = load_results(run)
    missing, damaged = (run / results.images(record.trial)[0] for record in results.records[:2])
    missing.unlink()
    damaged.write_bytes(damaged.read_bytes()[:50])
    ok, found = results_of(run)["pictures"]
    assert ok is False and "1 missing, 1 damaged of " in found


def test_damaged_lanes_and_half_written_files_are_notes(run: Path) -> None:
    """Damaged saved lanes and half-written files are notes, because a resumed run replaces them."""
    lanes = load_results(run).run.lanes_file(0)
    lanes.write_bytes(b"damaged")
    (run / ".report.html.tmp").write_bytes(b"half")
    results = results_of(run)
    assert (
        results["saved lanes"][0] is None
        and "1 of 1 damaged: trials 0" in results["saved lanes"][1]
    )
    assert results["folder"][0] is None and "1 half-written files" in results["folder"][1]


def test_a_checks_exception_is_its_result(run: Path) -> None:
    """If one check raises an exception, it fails, and the other checks still run."""
    (run / "job.yaml").write_text("name: [")
    results = results_of(run)
    assert results["job"][0] is False and results["study"][0] is True
