"""Several runs side by side, and a site of all runs of a folder."""

import shutil
from pathlib import Path

import pytest

from benchmarks.support.made_run import made_run
from nst_core.errors import InputError
from tests.tuner.browser import chromium, needs_chromium
from tests.tuner.helpers import nst_tuner
from tuner.pages.comparison.comparison_data import comparison_data
from tuner.pages.comparison.page import find_runs, run_names, write_comparison, write_run_site
from tuner.results.results import load_results


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A folder with two runs of equal name, one of them deeper, and a folder without a run."""
    folder = tmp_path_factory.mktemp("runs")
    made_run(folder / "one", pictures, trials=8)
    (folder / "more").mkdir()
    made_run(folder / "more" / "two", pictures, trials=6, search={"trials": 6, "sampler": "sobol"})
    (folder / "notes").mkdir()
    return folder


def test_only_what_differs_is_listed(runs: Path) -> None:
    """The table has the settings that are not the same in all runs, with a value for each run."""
    results = [load_results(path) for path in find_runs(runs)]
    data = comparison_data(results, ["a", "b"], [None, None])
    differing = dict(data["differing"])
    assert differing["Sampler"] == ["sobol", "random"] and "Size of the search" not in differing
    for run, each in zip(data["runs"], results, strict=True):
        scores = [score for _, score in run["curve"]]
        assert scores == sorted(scores, reverse=True)  # the best so far, lower is better
        assert scores[-1] == pytest.approx(min(r.rung.objective for r in each.ranked()), rel=1e-4)


def test_runs_have_different_names(runs: Path) -> None:
    """Runs of the same name are told apart by their folder, without the path to it."""
    results = [load_results(path) for path in find_runs(runs)]
    assert run_names(results) == ["made (two)", "made (one)"]
    assert len(set(run_names([*results, *results]))) == 4


@needs_chromium
def test_a_site_leads_to_every_report(runs: Path, tmp_path: Path) -> None:
    """The first page shows all runs with pictures and curves, and links to their reports."""
    write_run_site(runs, tmp_path / "site", lambda _: None)
    with chromium() as watched:
        page = watched.open((tmp_path / "site" / "index.html").as_uri())
        assert page.locator(".run").count() == 2
        sources = page.locator(".run img").evaluate_all("all => all.map(({ src }) => src)")
        assert len(sources) == 8 and all(src.startswith("data:image/webp") for src in sources)
        watched.plot("#curves")
        page.locator("#theme").click()
        assert watched.errors == [] and watched.foreign_requests == []
        page.locator(".run a").first.click()
        page.wait_for_selector("html[data-ready=yes]")
        assert page.url.endswith("/site/more-two/index.html")
    write_run_site(runs, tmp_path / "site", lambda _: None)  # replaces the pages


@needs_chromium
def test_a_comparison_fits_a_phone(runs: Path, tmp_path: Path) -> None:
    """At the width of a phone the page does not scroll sideways, and it requests nothing."""
    write_comparison([load_results(path) for path in find_runs(runs)], tmp_path / "c.html")
    with chromium(width=375, height=740, scheme="dark") as watched:
        page = watched.open((tmp_path / "c.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert watched.errors == [] and watched.foreign_requests == []


def test_a_site_replaces_nothing_else(runs: Path, tmp_path: Path) -> None:
    """A folder with other files is refused as the place of a site, and so is one without runs."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is not empty and no site"):
        write_run_site(runs, tmp_path / "mine", lambda _: None)
    with pytest.raises(InputError, match="holds no run"):
        write_run_site(runs / "notes", tmp_path / "site", lambda _: None)
    with pytest.raises(InputError, match="no such folder"):
        find_runs(runs / "nothing")


def test_the_command_compares_and_refuses(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`report` takes several runs or a site; what does not fit together is one clear error."""
    monkeypatch.chdir(tmp_path)
    one, two = runs / "one", runs / "more" / "two"
    done = nst_tuner("report", one, two)
    assert done.returncode == 0 and (tmp_path / "comparison.html").is_file()
    for arguments, message in (
        ([], "expected a run directory"),
        ([one, two, "--serve"], "serves one run"),
        (["--site", runs], "expected --out FOLDER"),
        ([one, "--site", runs, "--out", "site"], "leave this out"),
        (["--site", runs, "--out", "site", "--serve"], "changes nothing beside"),
    ):
        refused = nst_tuner("report", *arguments)
        assert refused.returncode == 2 and message in refused.stderr
    shutil.rmtree(tmp_path / "site", ignore_errors=True)
