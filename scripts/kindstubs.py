"""Stand-ins for the kinds that a values file of the chart renders and a bare kind cluster does not know.

`python -m kindstubs FILE` prints CustomResourceDefinitions that take any content; with `--brings-dependencies` it exits
with 0 if the file switches on `dependencies.dev`, else with 1.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts/carom"
BUILT_IN = {"apps", "autoscaling", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io"}
# As their own projects name them; the chart may render these and no others. Tests take them from here.
KNOWN = {
    "keda.sh/v1alpha1": ["ScaledObject", "TriggerAuthentication"],
    "monitoring.coreos.com/v1": ["ServiceMonitor", "PrometheusRule"],
    "gateway.networking.k8s.io/v1": ["HTTPRoute"],
}


def known() -> list[str]:
    """As helm takes them: `group/version/kind`."""
    return [f"{version}/{kind}" for version, kinds in KNOWN.items() for kind in kinds]


def is_foreign(document: dict[str, Any]) -> bool:
    group, slash, _ = document["apiVersion"].partition("/")
    return bool(slash) and group not in BUILT_IN


def render(values: Path) -> list[dict[str, Any]]:
    """Every object that the chart renders with these values."""
    command = ["helm", "template", "carom", str(CHART), "--namespace", "carom", "--values", str(values)]
    for api in known():
        command += ["--api-versions", api]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"kindstubs: {values}: {result.stderr.strip()}")
    return [document for document in yaml.safe_load_all(result.stdout) if document]


def definitions(objects: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One definition a foreign kind: all of an API of which the chart renders one."""
    foreign = {document["apiVersion"] for document in objects if is_foreign(document)}
    if unknown := foreign - KNOWN.keys():
        raise SystemExit(f"kindstubs: the chart renders {', '.join(sorted(unknown))}, which nobody here knows")
    return [definition(version, kind) for version in sorted(foreign) for kind in KNOWN[version]]


def definition(api_version: str, kind: str) -> dict[str, Any]:
    group, version = api_version.split("/")
    plural = f"{kind.lower()}s"
    annotations = {}
    if group.endswith(".k8s.io"):
        # The API server takes groups of this domain only with a reference to their review.
        annotations["api-approved.kubernetes.io"] = "unapproved, a stand-in for tests"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": annotations},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                }
            ],
        },
    }


def brings_dependencies(values: dict[str, Any]) -> bool:
    return bool(((values.get("dependencies") or {}).get("dev") or {}).get("enabled"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="kindstubs", description=__doc__)
    parser.add_argument("--brings-dependencies", action="store_true")
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    if arguments.brings_dependencies:
        return 0 if brings_dependencies(yaml.safe_load(arguments.file.read_text()) or {}) else 1
    found = definitions(render(arguments.file))
    # kubectl refuses to apply nothing.
    nothing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kindstubs", "namespace": "default"}}
    print(yaml.safe_dump_all(found or [nothing], sort_keys=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
