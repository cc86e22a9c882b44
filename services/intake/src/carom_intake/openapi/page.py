"""The document as one page of plain HTML: no script, nothing from elsewhere."""

import json
import re
from collections.abc import Iterator
from functools import cache
from html import escape
from typing import Any

from carom_intake.openapi.document import document

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--key:#06c}
@media(prefers-color-scheme:dark){:root{--key:#6bf}}
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:1rem}
code,pre{font:.9em ui-monospace,monospace}pre{background:var(--soft);padding:.7rem;overflow:auto;border-radius:6px}
a{color:var(--key);text-decoration:none}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid var(--line);text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0}
section{border:1px solid var(--line);border-radius:6px;padding:0 1rem 1rem;margin:1rem 0}
h3{margin:.8rem 0}.verb{font-weight:700;color:var(--key);display:inline-block;min-width:4.2rem}nav li{list-style:none}
"""
METHODS = ("get", "put", "post", "patch", "delete")


@cache
def page() -> bytes:
    """The page, UTF-8."""
    return "".join(_page(document())).encode()


def _page(doc: dict[str, Any]) -> Iterator[str]:
    title = escape(f"{doc['info']['title']} {doc['info']['version']}")
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    yield f'<h1>{title}</h1>{_text(doc["info"]["description"])}<p><a href="/openapi.json">openapi.json</a></p><nav>'
    for tag in doc["tags"]:
        yield f"<h4>{escape(tag['name'])}: {escape(tag['description'])}</h4><ul>"
        for path, method, operation in _operations(doc, tag["name"]):
            place = f'<span class="verb">{method.upper()}</span> <code>{escape(path)}</code>'
            yield f'<li><a href="#{operation["operationId"]}">{place} {escape(operation["summary"])}</a>'
        yield "</ul>"
    yield "</nav>"
    for tag in doc["tags"]:
        yield f"<h2>{escape(tag['name'].capitalize())}</h2>"
        for path, method, operation in _operations(doc, tag["name"]):
            yield from _operation(path, method, operation)
    yield "<h2>Schemas</h2>"
    for name, schema in sorted(doc["components"]["schemas"].items()):
        yield f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3>{_text(schema.get("description", ""))}'
        yield f"{_schema(schema)}</section>"
    yield "</html>"


def _operations(doc: dict[str, Any], tag: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in doc["paths"].items():
        for method in METHODS:
            if method in item and tag in item[method]["tags"]:
                yield path, method, item[method]


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<section id="{operation["operationId"]}"><h3><span class="verb">{method.upper()}</span> '
    yield f"<code>{escape(path)}</code> {escape(operation['summary'])}</h3>{_text(operation['description'])}"
    if parameters := operation.get("parameters"):
        yield "<table><tr><th>Parameter<th>In<th>Meaning<th>Type"
        for one in parameters:
            name = f"<code>{escape(one['name'])}</code>" + (" *" if one.get("required") else "")
            yield f"<tr><td>{name}<td>{one['in']}<td>{_line(one['description'])}<td>{_schema(one['schema'])}"
        yield "</table>"
    if body := operation.get("requestBody"):
        yield "<h4>Body</h4>"
        yield from _content(body["content"])
    yield "<h4>Answers</h4><table>"
    for status, answer in operation["responses"].items():
        headers = "".join(f"<br><code>{escape(name)}</code>" for name in answer["headers"] if name != "X-Request-Id")
        yield f"<tr><td>{status}<td>{_line(answer['description'])}{headers}<td>"
        yield from _content(answer.get("content", {}))
    yield "</table></section>"


def _content(content: dict[str, Any]) -> Iterator[str]:
    for media, found in content.items():
        yield f"<code>{escape(media)}</code> {_schema(found['schema'])}"
        for name, example in found.get("examples", {}).items():
            value = example["value"]
            shown = value if isinstance(value, str) else json.dumps(value, indent=2)
            summary = escape(example.get("summary", name))
            yield f"<details><summary>{summary}</summary><pre>{escape(shown)}</pre></details>"


def _schema(schema: Any) -> str:
    """A schema in short: fields as a table, references as links, the rest as its JSON."""
    if not isinstance(schema, dict) or not schema:
        return "anything"
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    if "properties" in schema and schema.get("type") == "object":
        required = schema.get("required", ())
        rows = "".join(
            f"<tr><td><code>{escape(name)}</code>{' *' if name in required else ''}"
            f"<td>{_line(field.get('description', ''))}<td>{_schema(field)}"
            for name, field in schema["properties"].items()
        )
        return f"<table>{rows}</table>"
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_schema(schema['items'])}"
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return (" and " if choice == "allOf" else " or ").join(map(_schema, schema[choice]))
    rest = {name: value for name, value in schema.items() if name != "description"}
    return f"<code>{escape(json.dumps(rest, ensure_ascii=False)[1:-1])}</code>"


def _text(text: str) -> str:
    return "".join(f"<p>{_line(part)}</p>" for part in text.split("\n\n") if part)


def _line(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
