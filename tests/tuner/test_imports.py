import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Package -> what it must never import, wherever in a file.
FORBIDDEN = {
    "nst_core": {"ray", "optuna", "tuner", "search_spaces", "pydantic", "typer", "yaml", "rich"},
    "search_spaces": {"torch", "ray", "optuna", "tuner", "numpy", "pydantic", "yaml"},
}
#: Modules of nst_core that must not bring torch.
LIGHT = (
    *("config", "presets", "built_in", "conversions", "public_engines", "networks"),
    *("resolution", "metric_names", "errors", "files"),
    *("network_info", "packages", "references", "weights"),
)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", list(FORBIDDEN))
def test_packages_keep_to_their_room(package: str) -> None:
    """nst_core and search_spaces import nothing above them, anywhere."""
    for path in (ROOT / package).glob("*.py"):
        roots = {name.split(".")[0] for name in imported(path)}
        assert not roots & FORBIDDEN[package], path


def test_who_knows_optuna() -> None:
    """Optuna is imported by the study, where it is kept, the samplers, and what shows it as is."""
    users = {
        path.relative_to(ROOT / "tuner").as_posix()
        for path in (ROOT / "tuner").rglob("*.py")
        if any("optuna" in name for name in imported(path))
    }
    assert users == {
        *(
            "journal.py",
            "journal_reader.py",
            "optuna_private.py",
            "samplers.py",
            "shown.py",
            "storage.py",
            "stored.py",
            "study.py",
        ),
        *("dashboard.py", "frame.py", "report/figures.py"),
    }


PRIVATE = re.compile(
    r"from (ray|optuna)\S*\._|import \S*\._|\._(actor_id|trial_id|storage|actor_cache)\b(?! =)"
)


def test_private_names_of_others_stand_in_one_module_each() -> None:
    """What Ray and Optuna may rename in any release is used in `ray_private`, `optuna_private`."""
    found = {
        f"{path.name}: {line.strip()}"
        for path in (ROOT / "tuner").rglob("*.py")
        if not path.name.endswith("_private.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if PRIVATE.search(line.replace("self._storage", ""))
    }
    assert found == set()


def test_light_modules_stay_light() -> None:
    """Configurations, presets and names load without torch."""
    code = f"import sys; {'; '.join(f'import nst_core.{m}' for m in LIGHT)}; import search_spaces\n"
    code += "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_looking_at_a_run_needs_no_torch_and_no_ray() -> None:
    """Status, best, the report's facts and the votes load neither."""
    modules = ("results", "run_tables", "report.page", "report.live", "prefer.page", "frame")
    code = f"import sys; {'; '.join(f'import tuner.{m}' for m in modules)}\n"
    code += "assert not {'torch', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_trials_process_loads_no_torch() -> None:
    """Of a trial's process there is one per lane; it and its engine's class load no torch."""
    code = "import sys, tuner.cluster.trainable, tuner.cluster.engine_actor;"
    code += "assert 'ray' in sys.modules;"
    code += "assert not {'torch', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
