"""The document names every route that there is, and nothing else; and it is sound in itself."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.store import Store
from carom_intake.app import wire
from carom_intake.openapi.document import TAGS, document, document_bytes
from carom_intake.openapi.operations import OPERATIONS
from carom_intake.openapi.page import page
from carom_intake.settings import IntakeSettings


async def _ready() -> None: ...


@pytest.fixture(scope="module")
async def routes() -> set[tuple[str, str]]:
    """Method and path, with `{}` for each parameter. Nothing is connected to."""
    settings = IntakeSettings(auth="off")
    store = Store("redis://127.0.0.1:1", 60, 60)
    wired = wire(settings, store, Publisher("amqp://127.0.0.1:1", "test", _ready))
    for loop in wired.loops:
        loop.close()
    found = {(method, unnamed(route.path)) for route in wired.routes for method in route.methods or ()}
    return {(method, path) for method, path in found if (method, path) != ("HEAD", path)}


def unnamed(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_every_route_is_described_and_every_operation_is_a_route(routes: set[tuple[str, str]]) -> None:
    described = {(method.upper(), unnamed(path)) for path, item in document()["paths"].items() for method in item}
    assert described == routes


def test_operations_are_complete() -> None:
    assert len({operation.id for operation in OPERATIONS}) == len(OPERATIONS)
    for operation in OPERATIONS:
        in_path = {parameter.name for parameter in operation.parameters if parameter.where == "path"}
        assert in_path == set(re.findall(r"\{([^}]*)\}", operation.path)), operation.id
        assert operation.tag in TAGS
        assert (operation.body is None) <= (415 not in operation.problems), operation.id


def parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from parts(item)


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    doc = document()
    found = {part["$ref"] for part in parts(doc) if isinstance(part.get("$ref"), str)}
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "headers") for name in doc["components"][kind]}
    assert found == there


@pytest.mark.parametrize("name", document()["components"]["schemas"])
def test_schemas_are_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(document()["components"]["schemas"][name])


def test_the_document_is_built_once() -> None:
    assert document_bytes() is document_bytes()


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = page().decode()
    for operation in OPERATIONS:
        assert f'id="{operation.id}"' in text
    assert set(re.findall(r'(?:href|src)="([^"]*)"', text)) <= {"/openapi.json"} | set(re.findall(r'"(#[^"]+)"', text))
    assert not re.search(r"<(script|link|img|iframe|form)\b|@import|url\(", text)
