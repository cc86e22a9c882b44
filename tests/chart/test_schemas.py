"""Every object of every file in ci/ is what Kubernetes takes: its last four minors, and foreign definitions."""

import functools
import importlib.resources
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from referencing import Registry, Resource
from tests.support import helm

from kindstubs import is_foreign

DATA = Path(str(importlib.resources.files("kubernetes_validate"))) / "kubernetes-json-schema"
MINORS = sorted(
    (path.name.split("-")[0] for path in DATA.glob("v*-local-strict")),
    key=lambda version: [int(part) for part in version.removeprefix("v").split(".")],
)[-4:]
CRDS = helm.CLUSTER_CACHE / "crds"
# The package reads its definitions anew for each object, which takes minutes: here they are kept.


@functools.cache
def registry(minor: str) -> Registry[Any]:
    definitions = json.loads((DATA / f"{minor}-local-strict/_definitions.json").read_text())
    return Resource.from_contents(definitions) @ Registry()


@functools.cache
def validator(minor: str, api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    """By the file names of the package: deployment-apps-v1, networkpolicy-networking-v1, pod-v1."""
    group, _, version = api_version.rpartition("/")
    name = "-".join(part for part in (kind.lower(), group.split(".")[0], version) if part)
    document = json.loads((DATA / f"{minor}-local-strict/{name}.json").read_text())
    return jsonschema.Draft202012Validator(document, registry=registry(minor))


@functools.cache
def foreign() -> dict[tuple[str, str], jsonschema.Draft202012Validator]:
    """By API version and kind, from the definitions that ../shared/cluster keeps."""
    found = {}
    for path in CRDS.glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            found[key] = jsonschema.Draft202012Validator(closed(version["schema"]["openAPIV3Schema"]))
    return found


def closed(schema: Any) -> Any:
    """The same schema, which refuses fields that it does not name, as kubectl does."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    open_to_all = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_to_all:
        result["additionalProperties"] = False
    return result


def problems(validator: jsonschema.Draft202012Validator, document: helm.Object) -> list[str]:
    name = f"{document['kind']}/{document['metadata']['name']}"
    return [f"{name}: {error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize("path", helm.CI, ids=lambda path: path.stem)
@pytest.mark.parametrize("minor", MINORS)
def test_objects_fit_kubernetes(minor: str, path: Path) -> None:
    documents = [document for document in helm.rendered(path).objects if not is_foreign(document)]
    assert len(documents) >= 20
    found = [p for d in documents for p in problems(validator(minor, d["apiVersion"], d["kind"]), d)]
    assert found == []


@pytest.mark.parametrize("path", helm.CI, ids=lambda path: path.stem)
def test_foreign_objects_fit_their_definitions(path: Path) -> None:
    documents = [document for document in helm.rendered(path).objects if is_foreign(document)]
    if documents and not foreign():
        pytest.skip("no definitions of KEDA and others: run ../shared/cluster/cluster prepare")
    assert [p for d in documents for p in problems(foreign()[d["apiVersion"], d["kind"]], d)] == []


def test_all_foreign_kinds_are_rendered_by_some_file() -> None:
    objects = [document for path in helm.CI for document in helm.rendered(path).objects if is_foreign(document)]
    assert {f"{document['apiVersion']}/{document['kind']}" for document in objects} == set(helm.FOREIGN)


@pytest.mark.parametrize("path", helm.CI, ids=lambda path: path.stem)
def test_lint(path: Path) -> None:
    helm.helm("lint", "--strict", str(helm.CHART), values=[path])


@pytest.mark.parametrize("path", helm.CI, ids=lambda path: path.stem)
def test_names_are_unique_and_short_enough(path: Path) -> None:
    manifests = helm.Manifests(
        helm.template(path, release="a-release-whose-name-is-as-long-as-helm-lets-it", namespace="n")
    )
    keys = [(d["apiVersion"], d["kind"], d["metadata"]["name"]) for d in manifests.objects]
    assert len(keys) == len(set(keys))
    for _, kind, name in keys:
        # A StatefulSet's name gets a hash of ten and a dash, and is a label then.
        assert len(name) <= (52 if kind == "StatefulSet" else 63), name
    values = [value for d in manifests.objects for value in d["metadata"].get("labels", {}).values()]
    assert max(map(len, values)) <= 63


def test_every_object_is_in_the_namespace_of_the_release() -> None:
    for path in helm.CI:
        assert {document["metadata"]["namespace"] for document in helm.rendered(path).objects} == {"ns"}
