"""JSON of a run, and the table of `status` beside it."""

import json
import os
from dataclasses import replace
from pathlib import Path

from tests.tuner.made_results import job, printed, results
from tuner.results.as_json import dump, status_json
from tuner.terminal.run_tables import status_table


def test_status_names_the_process_that_uses_the_run(tmp_path: Path) -> None:
    """`status` names the process that uses the run, and otherwise the command to resume it."""
    run_results = results(job(), [], tmp_path, over=None)
    with run_results.run.held("resume"):
        text, process = printed(status_table(run_results), 200), status_json(run_results)["running"]
    assert f"`nst-tuner resume` (process {os.getpid()} on" in text and str(tmp_path) not in text
    assert process["pid"] == os.getpid() and process["host"] and process["since"]
    assert status_json(run_results)["running"] is None
    assert "nst-tuner resume" in printed(status_table(run_results), 200)


def test_status_prints_a_path_that_a_shell_understands() -> None:
    """A path with brackets and spaces is printed quoted, not interpreted as markup."""
    run_results = results(job(), [], Path("runs/[red]my café"), over=None)
    assert "nst-tuner resume 'runs/[red]my café'" in printed(status_table(run_results))


def test_json_has_no_control_characters() -> None:
    """Control characters in JSON are escaped, and the JSON reads back the same."""
    content = {"note": "\x9b31m\x7f naïve ü\u2028"}
    text = dump(content)
    assert json.loads(text) == content and "ü" in text
    assert not any("\x7f" <= character <= "\x9f" for character in text)


def test_status_names_the_space_and_its_version() -> None:
    """`status` says which space was searched; runs of older versions know no version."""
    declared = {"name": "mine", "version": 3}
    made = results(job(), [], Path("run"))
    run_results = replace(made, notes={**made.notes, "space": declared})
    assert status_json(run_results)["space"] == declared
    assert "mine, version 3" in printed(status_table(run_results))
    assert status_json(results(job(space="wide"), [], Path("run")))["space"] == {
        "name": "wide",
        "version": None,
    }
