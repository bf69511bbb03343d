"""Rules about imports: contracts between packages, and modules that must stay light."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Modules of nst_core that must not import torch.
LIGHT = (
    *("config", "unused_settings", "errors", "files", "references", "images.file_kinds"),
    *("networks.registry", "networks.layer_info", "networks.pypi_weights", "networks.weights"),
    *("metrics.registry",),
    *("presets.preset", "presets.built_in", "presets.conversions", "presets.public_engines"),
    "presets.other_sizes",
)


def test_the_import_contracts_hold() -> None:
    """The contracts in pyproject.toml hold: packages import downwards only."""
    lint = Path(sys.executable).with_name("lint-imports")
    command = [lint, "--no-cache"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


PRIVATE = re.compile(
    r"from (ray|optuna)\S*\._|import \S*\._|\._(actor_id|trial_id|storage|actor_cache)\b(?! =)"
)


def test_private_names_of_libraries_are_used_in_one_module_each() -> None:
    """Private names of Ray and Optuna appear only in `ray_private` and `optuna_private`."""
    uses = {
        f"{path.name}: {line.strip()}"
        for path in (ROOT / "tuner").rglob("*.py")
        if not path.name.endswith("_private.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if PRIVATE.search(line.replace("self._storage", ""))
    }
    assert uses == set()


def test_light_modules_stay_light() -> None:
    """Configurations, presets and names load without torch."""
    code = f"import sys; {'; '.join(f'import nst_core.{m}' for m in LIGHT)}; import search_spaces\n"
    code += "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_looking_at_a_run_needs_no_torch_and_no_ray() -> None:
    """Modules behind status, best, report and prefer load neither torch nor Ray."""
    modules = (
        *("results.results", "results.dataframe", "terminal.run_tables", "pages.report.page"),
        *("pages.report.live", "pages.prefer.page", "study.preflight_checks"),
    )
    code = f"import sys; {'; '.join(f'import tuner.{m}' for m in modules)}\n"
    code += "assert not {'torch', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_trials_process_loads_no_torch() -> None:
    """The modules of a trial's process load no torch, because each lane has such a process."""
    code = "import sys, tuner.cluster.trainable, tuner.cluster.engine_actor;"
    code += "assert 'ray' in sys.modules;"
    code += "assert not {'torch', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
