"""charts/carom rendered by the real helm, without a cluster."""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import kindstubs

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/carom"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
CLUSTER_CACHE = Path(os.environ.get("CLUSTER_CACHE", "/var/cache/carom-cluster"))
"""Where ../shared/cluster keeps its builds, helm and the custom resource definitions among them."""
FOREIGN = tuple(kindstubs.known())
COMPONENTS = ("intake", "executor", "callback")
MINIMAL = {
    "broker": {"existingSecret": "broker"},
    "store": {"existingSecret": "store"},
    "encryption": {"existingSecret": "encryption"},
}
DEV = {"dependencies": {"dev": {"enabled": True}}}

Object = dict[str, Any]
Values = Mapping[str, Any]


class HelmError(Exception):
    """helm ended with an error; the text is what it printed."""


def binary() -> str:
    """The helm to use; skips the test when there is none."""
    named = os.environ.get("HELM") or shutil.which("helm") or str(CLUSTER_CACHE / "bin/helm")
    if not Path(named).exists():
        pytest.skip("no helm: put it on PATH, name it in HELM, or run ../shared/cluster/cluster prepare")
    return named


def helm(*arguments: str, values: Iterable[Values | Path] = ()) -> str:
    """What helm prints; values are given in order, the last wins. Raises HelmError."""
    command = [binary(), *arguments]
    for value in values:
        command += ["--values", str(value) if isinstance(value, Path) else "-"]
    given = [value for value in values if not isinstance(value, Path)]
    assert len(given) <= 1, "standard input is read once"
    # JSON is YAML.
    stdin = json.dumps(given[0]) if given else ""
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    if result.returncode:
        raise HelmError(result.stderr)
    return result.stdout


def template(
    *values: Values | Path, apis: Iterable[str] = FOREIGN, release: str = "carom", namespace: str = "ns"
) -> str:
    """The rendered manifests as text."""
    flags = [flag for api in apis for flag in ("--api-versions", api)]
    return helm("template", release, str(CHART), "--namespace", namespace, *flags, values=values)


class Manifests:
    """Rendered objects, looked up by kind and name."""

    def __init__(self, text: str) -> None:
        self.objects: list[Object] = [document for document in yaml.safe_load_all(text) if document]

    def all(self, *kinds: str) -> list[Object]:
        return [document for document in self.objects if document["kind"] in kinds]

    def names(self, kind: str) -> set[str]:
        return {document["metadata"]["name"] for document in self.all(kind)}

    def get(self, kind: str, name: str) -> Object:
        (found,) = [document for document in self.all(kind) if document["metadata"]["name"] == name]
        return found

    def pod(self, component: str) -> Object:
        """The pod's spec of a component's Deployment."""
        spec: Object = self.get("Deployment", f"carom-{component}")["spec"]["template"]["spec"]
        return spec

    def container(self, component: str) -> Object:
        (container,) = self.pod(component)["containers"]
        return dict(container)

    def settings(self, component: str) -> dict[str, str]:
        """Environment variables of a component that are no secrets."""
        data: dict[str, str] = self.get("ConfigMap", f"carom-{component}")["data"]
        return data


@functools.cache
def rendered(path: Path) -> Manifests:
    """The manifests of a values file."""
    return Manifests(template(path))


def render(values: Values, **options: Any) -> Manifests:
    return Manifests(template(values, **options))


def pod_templates(manifests: Manifests) -> dict[str, Object]:
    """Metadata and spec of all pods, by kind and name."""
    found = {}
    for document in manifests.objects:
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "Pod":
            found[name] = document
        elif document["kind"] in ("Deployment", "StatefulSet", "Job"):
            found[name] = document["spec"]["template"]
        elif document["kind"] == "CronJob":
            found[name] = document["spec"]["jobTemplate"]["spec"]["template"]
    return found


def merged(*values: Values) -> dict[str, Any]:
    """Maps merged as helm merges them."""
    result: dict[str, Any] = {}
    for layer in values:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if both else value
    return result
