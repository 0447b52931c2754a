"""The product's source files, read as syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = ROOT / "app" / "domain"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files_under(*folders: str) -> list[Path]:
    """Return every Python file of these folders of the repository."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, folders
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions_of(path: Path) -> Iterator[Function]:
    """Yield every function of a file, methods and inner ones too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, Function):
            yield node


def public_functions_of(path: Path) -> Iterator[Function]:
    """Yield what other modules may call: functions at the top of a file without an underscore."""
    for node in tree_of(path).body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node


def parameters_of(function: Function) -> list[str]:
    arguments = function.args
    return [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def place(path: Path, node: ast.AST) -> str:
    """Say where something stands, for a failing test."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
