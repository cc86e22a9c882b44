"""What the chart renders is what a real API server takes, in every example: schemas, admission, warnings."""

import functools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.e2e.kube import Kube, Object, api_resources
from tests.support import helm

from kindstubs import is_foreign

NAMESPACE = "carom-dry-run"


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    with Kube.in_namespace(NAMESPACE) as made:
        yield made


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Kinds of this cluster, as `group/version/kind`."""
    # NAME, SHORTNAMES (may be empty), APIVERSION, NAMESPACED, KIND
    return {f"{fields[-3]}/{fields[-1]}" for fields in map(str.split, api_resources("--no-headers"))}


@functools.cache
def objects_of(path: Path) -> list[Object]:
    return helm.Manifests(helm.template(path, namespace=NAMESPACE)).objects


def dry_run(kube: Kube, objects: Iterable[Object]) -> list[str]:
    """Names of what the API server took; one that is refused, an unknown field or a warning fails."""
    return apply(kube, objects, "--dry-run=server", "--warnings-as-errors", "--validate=strict")


def apply(kube: Kube, objects: Iterable[Object], *flags: str) -> list[str]:
    document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    stdin = json.dumps(document)
    return kube("apply", *flags, "--output=name", "--filename", "-", stdin=stdin, seconds=120).split()


@pytest.mark.parametrize("path", helm.CI, ids=lambda path: path.stem)
def test_the_api_server_takes_what_a_file_renders(kube: Kube, path: Path) -> None:
    objects = [document for document in objects_of(path) if not is_foreign(document)]

    # Admission of a pod looks its ServiceAccount up: these are really made.
    apply(kube, [document for document in objects if document["kind"] == "ServiceAccount"])

    assert len(dry_run(kube, objects)) == len(objects) >= 20


@pytest.mark.parametrize("kind", helm.FOREIGN)
def test_the_api_server_takes_a_foreign_kind(kube: Kube, known: set[str], kind: str) -> None:
    if kind not in known:
        pytest.skip(f"this cluster has no {kind}")
    rendered = [document for path in helm.CI for document in objects_of(path)]
    objects = [document for document in rendered if f"{document['apiVersion']}/{document['kind']}" == kind]

    assert len(dry_run(kube, objects)) == len(objects) >= 1
