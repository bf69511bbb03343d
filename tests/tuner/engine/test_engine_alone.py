"""The engine without the rest of the system: on a GPU machine that has torch and little else."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import tuner.engine

ROOT = Path(__file__).parents[3]

#: Packages that a machine with an engine need not have.
ABSENT = ("ray", "optuna", "pydantic")


def test_engines_need_no_ray_no_optuna_and_no_pydantic() -> None:
    """Every module of `tuner.engine` can be imported where Ray, Optuna and Pydantic are missing."""
    modules = [
        f"tuner.engine.{module.name}" for module in pkgutil.iter_modules(tuner.engine.__path__)
    ]
    assert "tuner.engine.engine" in modules
    code = f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))\nimport {', '.join(modules)}"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
