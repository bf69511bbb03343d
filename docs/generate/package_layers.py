"""The picture of the wings in docs/design.md, from the import contracts in pyproject.toml."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[2]

#: The places of docs/design.md that a picture is written into.
_MARKS = re.compile(r"(<!-- wings of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_picture(text: str) -> str:
    """Return the text of docs/design.md with up-to-date pictures between its marks."""
    return _MARKS.sub(lambda found: f"{found[1]}\n{picture(found[2])}\n{found[3]}", text)


def layers(package: str) -> list[list[str]]:
    """Return the wings of a package by layer, the top first, as its import contract names them."""
    config = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        contract
        for contract in config["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == [package]
    )
    return [[wing.strip() for wing in layer.split("|")] for layer in contract["layers"]]


def imports(package: str) -> set[tuple[str, str]]:
    """Return (importing wing, imported wing) of a package, from the import statements in its code.

    Imports for type checkers only are left out, as in the contract.
    """
    found = set()
    for path in (_ROOT / package).rglob("*.py"):
        wing = path.relative_to(_ROOT / package).parts[0].removesuffix(".py")
        if wing == "__init__":
            continue
        for module in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            parts = module.split(".")
            if parts[0] == package and len(parts) > 1 and parts[1] != wing:
                found.add((wing, parts[1]))
    wings = {wing for layer in layers(package) for wing in layer}
    return {(importing, imported) for importing, imported in found if imported in wings}


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imported(child)


def picture(package: str) -> str:
    """Return the layers as text, the top first, and a Mermaid flowchart of the imports."""
    rows = ["   ".join(layer) for layer in layers(package)]
    arrows = imports(package)
    lines = []
    for wing in dict.fromkeys(wing for layer in layers(package) for wing in layer):
        below = sorted(b for a, b in arrows if a == wing and not _indirect(a, b, arrows))
        if below:
            lines.append(f"    {wing} --> {' & '.join(below)}")
    text = ["```text", *rows, "```", "", "```mermaid", "flowchart TD", *lines, "```"]
    return "\n".join(text)


def _indirect(start: str, end: str, arrows: set[tuple[str, str]]) -> bool:
    """Return whether a longer path of arrows leads from start to end."""
    waiting = [b for a, b in arrows if a == start and b != end]
    seen: set[str] = set()
    while waiting:
        wing = waiting.pop()
        if wing == end:
            return True
        if wing not in seen:
            seen.add(wing)
            waiting += [b for a, b in arrows if a == wing]
    return False
