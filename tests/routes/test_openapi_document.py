"""The description at /openapi.json is valid, complete, and its examples are true."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from apiflask import APIFlask

from tests.routes.callers import Doors, on_sqlite_only
from tests.routes.test_who_may_call import ANYONE, CITIZEN, WHO_MAY_CALL

pytestmark = on_sqlite_only

ERROR_KEYS = ["code", "message", "request_id", "detail"]


@pytest.fixture
def document(doors: Doors) -> dict[str, Any]:
    answer = doors.nobody().get("/openapi.json", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    # Not `answer.json`: the application's own parser takes nothing so deep.
    body: dict[str, Any] = json.loads(answer.data)
    return body


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def test_it_is_valid_openapi_3_1(app: APIFlask, document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    schemathesis.openapi.from_wsgi("/openapi.json", app).validate()


def test_name_and_version_are_those_of_the_product(
    document: dict[str, Any], repository_root: Path
) -> None:
    project = tomllib.loads((repository_root / "pyproject.toml").read_text())["project"]
    assert document["info"]["title"] == "连缴 Lianjiao API"
    assert document["info"]["version"] == project["version"]
    assert document["info"]["license"]["identifier"] == project["license"]


def test_nobody_decides_by_a_header_where_requests_go(document: dict[str, Any]) -> None:
    assert document["servers"] == [{"url": "/"}]
    assert "evil.example" not in str(document)


def test_it_names_every_door_for_people_and_no_other(document: dict[str, Any]) -> None:
    doors = {
        (method, re.sub("<(.*?)>", "{\\1}", rule))
        for method, rule in WHO_MAY_CALL
        if "/api/v1/" in rule
    }
    assert {(method, path) for method, path, _ in operations(document)} == doors


def test_each_operation_says_who_may_call_it(document: dict[str, Any]) -> None:
    assert {
        name: (scheme["type"], scheme["scheme"])
        for name, scheme in document["components"]["securitySchemes"].items()
    } == {"CitizenToken": ("http", "bearer"), "StaffToken": ("http", "bearer")}
    for method, path, operation in operations(document):
        who = WHO_MAY_CALL[method, re.sub("{(.*?)}", "<\\1>", path)]
        scheme = "CitizenToken" if who == CITIZEN else "StaffToken"
        expected = None if who == ANYONE else [{scheme: []}]
        assert operation.get("security") == expected, path
        assert "401" in operation["responses"], path
        if path.startswith("/staff/") and who != ANYONE and not path.endswith("/session"):
            assert "403" in operation["responses"], path


def test_each_operation_has_an_id_of_its_own_a_tag_and_chinese_words(
    document: dict[str, Any],
) -> None:
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    assert len(tags) == len(document["tags"])
    ids, used = [], set()
    for _, path, operation in operations(document):
        ids.append(operation["operationId"])
        used.update(operation["tags"])
        for words in (operation["summary"], operation["description"]):
            assert re.search("[\u4e00-\u9fff]", words), path
        assert re.fullmatch("[a-z_]+", operation["operationId"]), path
    assert len(set(ids)) == len(ids)
    assert used == set(tags)


def test_every_field_and_parameter_for_people_is_explained(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        for parameter in operation["parameters"]:
            assert re.search("[\u4e00-\u9fff]", parameter["description"]), (path, parameter)


def test_each_body_comes_with_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    checked = 0
    for method, path, operation in operations(document):
        bodies = [("request", operation["requestBody"])] if "requestBody" in operation else []
        bodies += list(operation["responses"].items())
        for name, body in bodies:
            if "$ref" in body:
                body = document["components"]["responses"][body["$ref"].rpartition("/")[2]]
            if name == "204":
                assert "content" not in body
                continue
            if list(body["content"]) == ["application/pdf"]:
                assert path.endswith("/pdf")
                continue
            assert list(body["content"]) == ["application/json"], (method, path, name)
            media = body["content"]["application/json"]
            schema = {**media["schema"], "components": document["components"]}
            validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
            problems = [str(problem) for problem in validator.iter_errors(media["example"])]
            assert not problems, (method, path, name, problems)
            checked += 1
    assert checked > 100


def test_every_error_is_described_in_the_one_shape(document: dict[str, Any]) -> None:
    shape = document["components"]["schemas"]["Error"]
    assert shape["required"] == list(shape["properties"]) == ERROR_KEYS
    assert not {"HTTPError", "ValidationError"} & set(document["components"]["schemas"])
    for _, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert answer == {"$ref": f"#/components/responses/Error{status}"}, path
    for name, response in document["components"]["responses"].items():
        media = response["content"]["application/json"]
        assert media["schema"] == {"$ref": "#/components/schemas/Error"}, name
        assert list(media["example"]) == ERROR_KEYS, name


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(re.findall(r"'\$ref': '(.*?)'", str(document)))
    assert len(found) > 30
    assert not [name for name in document["components"]["schemas"] if "." in name]
    for reference in found:
        _, _, kind, name = reference.split("/")
        assert name in document["components"][kind], reference


def test_a_request_body_is_required_and_its_refusals_are_described(
    document: dict[str, Any],
) -> None:
    for method, path, operation in operations(document):
        if "requestBody" in operation:
            assert operation["requestBody"]["required"] is True, path
            assert {"400", "413", "415", "422"} <= set(operation["responses"]), (method, path)


def test_whatever_creates_something_lasting_asks_for_an_idempotency_key(
    document: dict[str, Any],
) -> None:
    keyed = {
        operation["operationId"]
        for _, _, operation in operations(document)
        if any(
            (p["name"], p["in"], p["required"]) == ("Idempotency-Key", "header", True)
            for p in operation["parameters"]
        )
    }
    assert keyed == {
        "create_deposit",
        "request_refund",
        "create_staff_refund",
        "sign_agreement",
        "change_agreement",
        "start_mandate",
        "make_up_debit",
    }
