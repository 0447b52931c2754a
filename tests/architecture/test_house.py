"""Size, words and rooms: what keeps the house readable."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tests.architecture.source import (
    DOMAIN,
    ROOT,
    files_under,
    functions_of,
    place,
    public_functions_of,
    tree_of,
)

LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 60
PRODUCT = ("app", "config", "sandbox")

STRANGERS = (
    "flask",
    "flask_sqlalchemy",
    "apiflask",
    "werkzeug",
    "requests",
    "wechatpy",
    "alipay",
    "apscheduler",
    "config",
    "app.db",
)


def test_no_file_grows_beyond_400_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in files_under(*PRODUCT)
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LINES_OF_A_FILE
    }
    assert long == {}


def test_no_function_grows_beyond_60_lines() -> None:
    long = {
        f"{place(path, function)} {function.name}": count
        for path in files_under(*PRODUCT)
        for function in functions_of(path)
        if (count := (function.end_lineno or 0) - function.lineno + 1) > LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_every_file_that_says_something_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in files_under(*PRODUCT)
        if tree_of(path).body and ast.get_docstring(tree_of(path)) is None
    ]
    assert silent == []


def test_every_public_function_says_what_it_does() -> None:
    silent = [
        f"{place(path, function)} {function.name}"
        for path in files_under("app", "config")
        for function in public_functions_of(path)
        if ast.get_docstring(function) is None
    ]
    assert silent == []


def test_there_is_no_room_for_odds_and_ends() -> None:
    banned = {"utils", "util", "helpers", "helper", "common", "misc", "base_service", "manager"}
    wrong = [
        str(path.relative_to(ROOT))
        for path in files_under(*PRODUCT)
        if banned & {path.stem, *path.relative_to(ROOT).parts}
    ]
    assert wrong == []


def test_the_domain_loads_without_the_web_the_network_and_the_settings() -> None:
    """In a process of its own, because this one has loaded everything."""
    program = f"""
import importlib, pkgutil, sys
import app.domain
for module in pkgutil.walk_packages(app.domain.__path__, "app.domain."):
    importlib.import_module(module.name)
count = len([name for name in sys.modules if name.startswith("app.domain.")])
found = [name for name in {STRANGERS!r} if name in sys.modules]
print(count > 40, found)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("True []\n", "")


def test_every_table_is_known_to_the_migrations() -> None:
    imported = {
        alias.name
        for node in tree_of(DOMAIN / "tables.py").body
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    with_tables = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in DOMAIN.rglob("*.py")
        if any(
            isinstance(node, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == "__tablename__" for t in node.targets)
            for node in ast.walk(tree_of(path))
        )
    }
    assert imported == with_tables


def test_tables_stand_in_models_only() -> None:
    wrong = [
        place(path, node)
        for path in files_under("app")
        if path.name != "models.py" and path != DOMAIN / "base.py"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef) and "Base" in [ast.unparse(b) for b in node.bases]
    ]
    assert wrong == []


def test_the_package_itself_loads_nothing(repository_root: Path) -> None:
    """`import app.domain` must not drag anything in."""
    for path in (repository_root / "app" / "__init__.py", DOMAIN / "__init__.py"):
        assert not [n for n in tree_of(path).body if isinstance(n, (ast.Import, ast.ImportFrom))]
