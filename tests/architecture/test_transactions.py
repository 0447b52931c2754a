"""The first parameter says who owns the transaction, and nobody else begins or ends one."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.architecture.source import (
    DOMAIN,
    Function,
    files_under,
    functions_of,
    parameters_of,
    place,
    public_functions_of,
    tree_of,
)

OWNERS = {"ports", "session"}
BY_HAND = {"commit", "rollback", "begin", "begin_nested", "expunge", "merge", "close"}
TYPES = {"ports": "Ports", "session": "Session"}


def test_whoever_needs_a_transaction_says_so_with_the_first_parameter() -> None:
    wrong = [
        f"{place(path, function)} {function.name}{tuple(parameters_of(function))}"
        for path in files_under("app/domain")
        for function in public_functions_of(path)
        if OWNERS & set(parameters_of(function)[1:])
    ]
    assert wrong == []


def test_the_two_words_always_mean_the_two_types() -> None:
    wrong = [
        f"{place(path, function)} {function.name}: {argument.arg}"
        for path in files_under("app/domain")
        for function in functions_of(path)
        for argument in (*function.args.args, *function.args.kwonlyargs)
        if argument.arg in TYPES
        and (argument.annotation is None or ast.unparse(argument.annotation) != TYPES[argument.arg])
    ]
    assert wrong == []


def test_queries_never_open_a_transaction_of_their_own() -> None:
    wrong = [
        f"{place(path, function)} {function.name}"
        for path in files_under("app/domain")
        if path.name == "queries.py"
        for function in public_functions_of(path)
        if "ports" in parameters_of(function)
    ]
    assert wrong == []


def test_whoever_runs_inside_a_transaction_opens_none() -> None:
    """A function of a `session` that reached for `ports.transact` would nest or deadlock."""
    wrong = [
        f"{place(path, call)} {function.name}"
        for path in files_under("app/domain")
        for function in functions_of(path)
        if parameters_of(function)[:1] == ["session"]
        for call in calls_of(function)
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"transact", "read"}
    ]
    assert wrong == []


def test_nobody_in_the_domain_begins_or_ends_a_transaction_by_hand() -> None:
    wrong = [
        f"{place(path, node)} .{node.attr}"
        for path in files_under("app/domain")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in BY_HAND
    ]
    assert wrong == []


def test_rules_are_pure() -> None:
    """No database, no clock, no chance; what they need is handed to them."""
    impure = {"sqlalchemy", "random", "secrets", "time", "os", "pathlib", "requests"}
    wrong = []
    for path in [
        *DOMAIN.rglob("rules.py"),
        DOMAIN / "money.py",
        DOMAIN / "calendar.py",
        DOMAIN / "periods.py",
    ]:
        for node in ast.walk(tree_of(path)):
            for name in imported_by(node):
                if name.partition(".")[0] in impure:
                    wrong.append(f"{place(path, node)} imports {name}")
            if isinstance(node, Function) and OWNERS & set(parameters_of(node)):
                wrong.append(f"{place(path, node)} {node.name}")
    assert wrong == []


def test_no_network_inside_a_transaction() -> None:
    """What is handed to `transact` or `read` never speaks to a channel or a log-in platform."""
    speaking = {
        "prepare_payment",
        "query_payment",
        "close_payment",
        "refund",
        "query_refund",
        "start_mandate",
        "confirm_mandate",
        "query_mandate",
        "end_mandate",
        "subject_of",
        "write_pdf",
        "send",
    }
    wrong = [
        f"{place(path, inner)} .{inner.func.attr}"
        for path in files_under("app")
        for call in calls_in(tree_of(path))
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"transact", "read"}
        for argument in call.args
        for inner in calls_in(argument)
        if isinstance(inner.func, ast.Attribute) and inner.func.attr in speaking
    ]
    assert wrong == []


def calls_in(node: ast.AST) -> list[ast.Call]:
    return [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]


def calls_of(function: Function) -> list[ast.Call]:
    return [call for statement in function.body for call in calls_in(statement)]


def imported_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_the_rules_above_look_at_something(repository_root: Path) -> None:
    functions = [f for path in files_under("app/domain") for f in public_functions_of(path)]
    first = [parameters_of(function)[:1] for function in functions]
    assert first.count(["ports"]) > 15
    assert first.count(["session"]) > 15
    assert repository_root == DOMAIN.parents[1]
