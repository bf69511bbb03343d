"""Loading: from the section `stylizer` of a job to an object with the method ``open``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.stylizers.protocol import Stylizer, StylizerError


def load_stylizer(spec: Mapping[str, Any], folder: Path) -> Stylizer:
    """Return the stylizer that a job names; this runs its code.

    Args:
        spec: `StylizerSpec.to_plain`.
        folder: temporary folder of this process.

    Raises:
        StylizerError: there is no such module, file or factory, or it makes no stylizer.
    """
    if "command" in spec:
        from tuner.stylizers.command import CommandStylizer

        return CommandStylizer(spec["command"], folder)
    name = spec.get("python") or spec["path"]
    place, _, factory = name.rpartition(":")
    module = _module(place) if "python" in spec else _file(Path(place))
    if not hasattr(module, factory):
        raise StylizerError(f"{place} has no {factory!r}")
    stylizer = getattr(module, factory)()
    if not callable(getattr(stylizer, "open", None)):
        raise StylizerError(
            f"{name} makes a {type(stylizer).__name__}, expected an object with the method"
            " open(content, styles, size_px, device)"
        )
    return stylizer  # type: ignore[no-any-return]


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise  # the module exists and needs another one
        raise StylizerError(
            f"no module {error.name!r} is installed in {sys.prefix}; install it there, or name a"
            " file with `path`"
        ) from None


def _file(path: Path) -> Any:
    if not path.is_file():
        raise StylizerError(f"no such file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    sys.path.insert(0, str(path.parent))  # for the modules beside it
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
