"""Writes the chart's values.schema.json and the table of values in its README.md from values.yaml.

A key is described by the comment right above it: `# -- (type) What it is.` Types are (string or integer), (enum: a, b),
(map), (map of strings), (list of objects) and alike; where the default shows it, the type may be left out. A mapping
without such a comment is a section: its keys are described instead, and no others are taken.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent.parent / "charts" / "carom"
BEGIN, END = "<!-- values: written by `make docs` from values.yaml -->\n", "<!-- end of values -->\n"
INHERITS = "Takes every key of `defaults` too."
LONGEST_DEFAULT = 60
_DESCRIBED = re.compile(r"-- (?:\(([^)]*)\) )?(.*)", re.DOTALL)


class ValuesError(Exception):
    """values.yaml is not documented as it should be."""


@dataclass(frozen=True)
class Leaf:
    """A key that takes a value."""

    path: str
    kind: str
    default: Any
    description: str


@dataclass(frozen=True)
class Section:
    """A key that holds other keys."""

    path: str
    comment: str
    keys: dict[str, "Leaf | Section"]

    def leaves(self) -> Iterator[Leaf]:
        for key in self.keys.values():
            if isinstance(key, Leaf):
                yield key
            else:
                yield from key.leaves()


def read_values(text: str) -> Section:
    """The documented keys of a values.yaml; raises ValuesError."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._text = text
        self._loader = yaml.SafeLoader("")

    def read(self) -> Section:
        root = yaml.compose(self._text, Loader=yaml.SafeLoader)
        if root is None:
            raise ValuesError("values.yaml is empty")
        return Section("", "", self._keys(root, ""))

    def _keys(self, node: yaml.Node, prefix: str) -> dict[str, Leaf | Section]:
        return {name.value: self._key(name, value, prefix) for name, value in node.value}

    def _key(self, name: yaml.Node, value: yaml.Node, prefix: str) -> Leaf | Section:
        path = prefix + name.value
        comment = self._comment_above(name.start_mark.line)
        if match := _DESCRIBED.fullmatch(comment):
            default = self._loader.construct_object(value, deep=True)
            return Leaf(path, match[1] or _kind_of(path, default), default, match[2])
        if isinstance(value, yaml.MappingNode) and value.value:
            return Section(path, comment, self._keys(value, f"{path}."))
        raise ValuesError(f"values.yaml: {path} has no description: put `# -- ...` right above it")

    def _comment_above(self, line: int) -> str:
        above: list[str] = []
        while line and (text := self._lines[line - 1].strip()).startswith("#"):
            above.insert(0, text.removeprefix("#").strip())
            line -= 1
        return " ".join(above)


def _kind_of(path: str, default: Any) -> str:
    kinds: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}
    try:
        return kinds[type(default)]
    except KeyError:
        raise ValuesError(f"values.yaml: {path} needs a type: `# -- (list of strings) ...` or alike") from None


def schema(values: Section) -> dict[str, Any]:
    """JSON Schema of the values."""
    root = _schema(values, values)
    # Helm puts it there when the chart is a part of another one.
    root["properties"]["global"] = {"type": "object"}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **root}


def _schema(key: Leaf | Section, root: Section) -> dict[str, Any]:
    if isinstance(key, Leaf):
        return {"description": key.description, **_typed(key.path, key.kind)}
    properties = {name: _schema(child, root) for name, child in key.keys.items()}
    if INHERITS in key.comment:
        properties |= _schema(root.keys["defaults"], root)["properties"]
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _typed(path: str, kind: str) -> dict[str, Any]:
    if kind.startswith("enum: "):
        return {"type": "string", "enum": kind.removeprefix("enum: ").split(", ")}
    if kind == "map":
        return {"type": "object"}
    if kind.startswith("map of "):
        return {"type": "object", "additionalProperties": {"type": _singular(kind.removeprefix("map of "))}}
    if kind.startswith("list of "):
        return {"type": "array", "items": {"type": _singular(kind.removeprefix("list of "))}}
    kinds = kind.split(" or ")
    if not set(kinds) <= {"string", "integer", "number", "boolean"}:
        raise ValuesError(f"values.yaml: {path} has the type ({kind}), which nobody knows")
    return {"type": kinds[0] if len(kinds) == 1 else kinds}


def _singular(kinds: str) -> str:
    return kinds.removesuffix("s")


def table(values: Section) -> str:
    """The values in Markdown, a table for each key at the top."""
    general = Section("General", "", {name: key for name, key in values.keys.items() if isinstance(key, Leaf)})
    parts = []
    for section in (general, *(key for key in values.keys.values() if isinstance(key, Section))):
        parts.append(f"### {section.path}\n")
        if section.comment:
            parts.append(f"{section.comment}\n")
        rows = [
            f"| `{leaf.path}` | {leaf.kind} | {_shown(leaf.default)} | {leaf.description} |"
            for leaf in section.leaves()
        ]
        parts.append("\n".join(["| key | type | default | |", "|---|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _shown(default: Any) -> str:
    if default in ("", [], {}):
        return "none"
    text = default if isinstance(default, str) else json.dumps(default)
    return f"`{text}`" if len(text) <= LONGEST_DEFAULT else "see values.yaml"


def pages() -> dict[Path, str]:
    """What the generated files should hold."""
    values = read_values((CHART / "values.yaml").read_text())
    readme = (CHART / "README.md").read_text()
    head, tail = readme.split(BEGIN)[0], readme.split(END)[1]
    return {
        CHART / "values.schema.json": json.dumps(schema(values), indent=2) + "\n",
        CHART / "README.md": f"{head}{BEGIN}\n{table(values)}\n{END}{tail}",
    }


def main() -> None:
    for path, text in pages().items():
        path.write_text(text)
        print(f"wrote charts/carom/{path.name}")


if __name__ == "__main__":
    main()
