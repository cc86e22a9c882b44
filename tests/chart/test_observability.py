"""Monitors, alerts and dashboards: they name metrics that exist, and all files are rendered."""

import json
import re
from typing import Any

import pytest
import yaml
from tests.support import helm

from carom_common.telemetry import metrics
from carom_common.topology import QUEUES

DASHBOARDS = sorted((helm.CHART / "dashboards").glob("*.json"))
RULES = sorted((helm.CHART / "rules").glob("*.yaml"))


def series() -> dict[str, set[str]]:
    """Labels by the names that Prometheus stores."""
    return {metric.name + suffix: set(metric.label_names) for metric in metrics.CATALOGUE for suffix in metric.suffixes}


def alerts() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]


def queries() -> list[str]:
    return [rule["expr"] for rule in alerts()] + [target["expr"] for panel in panels() for target in panel["targets"]]


@pytest.fixture(scope="module")
def manifests() -> helm.Manifests:
    return helm.rendered(helm.CHART / "ci/observability-values.yaml")


def test_there_are_files() -> None:
    assert DASHBOARDS
    assert RULES
    assert len(alerts()) >= 5
    assert len(panels()) >= 10


@pytest.mark.parametrize("query", queries())
def test_queries_name_metrics_and_labels_that_exist(query: str) -> None:
    known = series()
    used = re.findall(r"\b(carom_\w+)(?:\{([^}]*)\})?", query)
    assert used
    for name, matchers in used:
        labels = {"namespace", "job", "le"} | known[name]
        assert set(re.findall(r"(\w+)\s*=", matchers)) <= labels
        for grouped in re.findall(r"by \(([^)]*)\)", query):
            assert {label.strip() for label in grouped.split(",")} <= labels
    for left, right in ("()", "{}", "[]"):
        assert query.count(left) == query.count(right)


def test_queues_in_queries_exist() -> None:
    named = {queue for query in queries() for queue in re.findall(r'queue="([^"]+)"', query)}
    assert named
    assert named <= {queue.name for queue in QUEUES}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_alerts_say_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["alert"].startswith("Carom")
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert alert["annotations"].keys() >= {"summary", "description", "rationale"}
    assert "$labels.namespace" in alert["annotations"]["summary"]
    assert len(alert["annotations"]["description"]) > 80


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_panels_are_described(panel: dict[str, Any]) -> None:
    assert panel["description"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert all("$namespace" in target["expr"] for target in panel["targets"])


def test_every_dashboard_is_a_config_map_that_the_sidecar_finds(manifests: helm.Manifests) -> None:
    for path in DASHBOARDS:
        document = manifests.get("ConfigMap", f"carom-dashboard-{path.stem}")
        assert document["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert document["metadata"]["annotations"] == {"grafana_folder": "Carom"}
        assert json.loads(document["data"][path.name]) == json.loads(path.read_text())


def test_every_file_of_rules_is_a_prometheus_rule(manifests: helm.Manifests) -> None:
    for path in RULES:
        document = manifests.get("PrometheusRule", f"carom-rules-{path.stem}")
        assert document["metadata"]["labels"]["release"] == "kube-prometheus-stack"
        assert document["spec"] == yaml.safe_load(path.read_text())


@pytest.mark.parametrize("component", helm.COMPONENTS)
def test_monitors_find_one_service_each(manifests: helm.Manifests, component: str) -> None:
    monitor = manifests.get("ServiceMonitor", f"carom-{component}")
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint == {"port": "admin", "path": "/metrics", "interval": "15s"}
    selector = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = [s for s in manifests.all("Service") if selector <= s["metadata"]["labels"].items()]
    assert [port["name"] for port in service["spec"]["ports"]] == ["admin"]
    assert {"name": "admin", "containerPort": 8081} in manifests.container(component)["ports"]


def test_nothing_of_it_by_default() -> None:
    kinds = {document["kind"] for document in helm.render(helm.DEV).objects}
    assert not kinds & {"ServiceMonitor", "PrometheusRule"}
    assert not [d for d in helm.render(helm.DEV).objects if "dashboard" in d["metadata"]["name"]]


# The notes


def notes(*values: helm.Values) -> str:
    text = helm.helm("install", "carom", str(helm.CHART), "--dry-run=client", "--namespace", "ns", values=values)
    return text[text.index("NOTES:") :]


def test_notes_warn_and_say_what_comes_next() -> None:
    dev = notes(helm.DEV)
    assert "NOT FOR PRODUCTION" in dev
    for text in (dev, notes(helm.MINIMAL)):
        assert "port-forward service/carom-intake 3000:3000" in text
        assert "helm test carom --namespace ns" in text
        # Helm before 4.1 fails with it: the test's pod is gone when it has succeeded.
        assert "--logs" not in text
        assert "/api/jobs" in text
    assert "NOT FOR PRODUCTION" not in notes(helm.MINIMAL)


def test_notes_tell_what_is_open() -> None:
    text = notes(helm.MINIMAL)
    assert "Set networkPolicy.broker.to to where your broker is" in text
    assert "Set networkPolicy.store.to to where your store is" in text
    assert "callbacks are not signed" in text
    closed = {
        "networkPolicy": {"broker": {"to": [{"podSelector": {}}]}, "store": {"to": [{"podSelector": {}}]}},
        "callback": {"signing": {"existingSecret": "s"}},
    }
    assert "WARNING" not in notes(helm.merged(helm.MINIMAL, closed))
    assert "networkPolicy.enabled is false" in notes(helm.merged(helm.MINIMAL, {"networkPolicy": {"enabled": False}}))
    exposed = {
        "ingress": {"enabled": True, "hosts": ["a.test"]},
        "networkPolicy": {"ingressController": {"cidrs": ["10.0.0.0/8"]}},
    }
    assert "http://a.test/api/jobs" in notes(helm.merged(helm.MINIMAL, exposed))
