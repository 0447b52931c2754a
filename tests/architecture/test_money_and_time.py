"""Money is whole fen and time is handed in: what would break either is not even written."""

from __future__ import annotations

import ast

from tests.architecture.source import files_under, place, tree_of


def test_no_float_comes_near_the_money() -> None:
    wrong = [
        f"{place(path, node)} {ast.unparse(node)}"
        for path in files_under("app/domain", "app/payments")
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"float", "round"}
        )
    ]
    assert wrong == []


def test_nobody_divides_money_with_a_slash() -> None:
    """`/` makes a float of two integers; whole fen use `//` or a Decimal rate."""
    wrong = [
        f"{place(path, node)} {ast.unparse(node)}"
        for path in files_under("app/domain", "app/payments", "app/routes", "app/jobs")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Div)
        and "_fen" in ast.unparse(node)
    ]
    assert wrong == []


def test_only_the_factory_looks_at_the_clock() -> None:
    clocks = {"now", "utcnow", "today", "fromtimestamp", "time_ns"}
    wrong = [
        f"{place(path, node)} {ast.unparse(node)}"
        for path in files_under("app", "config")
        if path.name != "factory.py"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and node.attr in clocks
        and isinstance(node.value, ast.Name)
        and node.value.id in {"datetime", "date", "time"}
    ]
    assert wrong == []


def test_the_product_takes_its_chance_from_secrets_and_never_from_random() -> None:
    wrong = [
        f"{place(path, node)} random"
        for path in files_under("app", "config")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Import) and any(alias.name == "random" for alias in node.names)
    ]
    assert wrong == []
