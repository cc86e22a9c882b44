"""Monitors, alerts and dashboards: they name metrics that exist, and all files are rendered."""

import json
import math
import re
from typing import Any

import pytest
import yaml
from tests.support import helm
from tests.support.observability import DASHBOARDS, RULES, Panel, alerts, boards, panels, queries, unknown

from carom_common.telemetry.metrics import CATALOGUE
from carom_common.telemetry.metrics.kinds import Histogram
from carom_common.topology import QUEUES
from dashboards import pages
from dashboards.pages import FOLDER, PAGES

RED_OF = {
    "Age of the oldest job that is due": [("CaromJobsWaiting", "warning")],
    "Alarms of RabbitMQ": [("CaromBrokerAlarm", "critical")],
    "Backlog, of its limit": [("CaromBacklogFilling", "warning")],
    "Dead-lettered at most once": [("CaromDeadLetteredAtMostOnce", "critical")],
    "Defects, and what cannot be opened, in an hour": [("CaromDefects", "warning"), ("CaromUnsealable", "critical")],
    "Lateness of retries": [("CaromRetriesLate", "warning")],
    "Loops that stand still": [("CaromLoopStalled", "critical")],
    "Oldest job due": [("CaromJobsWaiting", "warning")],
    "Pods without broker or store": [("CaromBrokerDown", "critical")],
    "Redis memory in use": [("CaromStoreFilling", "warning")],
    "Until a certificate expires": [("CaromCertificateExpires", "critical")],
    "Until an API key expires": [("CaromApiKeyExpires", "warning")],
}
"""Panels that show what alerts watch."""
VARIABLES = re.compile(r"\$(?!__)\{?(\w+)")


@pytest.fixture(scope="module")
def manifests() -> helm.Manifests:
    return helm.rendered(helm.CHART / "ci/observability-values.yaml")


def test_there_are_files() -> None:
    assert {path.stem for path in DASHBOARDS} == {"overview", "path", "parts"}
    assert {path.stem for path in RULES} == {"jobs", "parts", "slos"}
    assert len(panels()) >= 80


# Queries


def test_queries_name_metrics_labels_and_values_that_exist() -> None:
    assert {query: wrong for query in queries() if (wrong := unknown(query))} == {}


def test_what_does_not_exist_would_be_found() -> None:
    """The pattern above finds what it is to check."""
    assert unknown("sum (rate(carom_no_such_total[5m]))") == ["carom_no_such_total"]
    assert unknown('carom_attempts_total{outcome="lost"}') == ['carom_attempts_total{outcome="lost"}']
    assert unknown('carom_attempts_total{outcome=~"lost|gone"}') != []
    assert unknown('carom_attempts_total{reason="completed"}') != []
    assert unknown('carom_attempts_total{namespace="x", outcome=~"completed|failed"}') == []


def test_queues_in_queries_exist() -> None:
    named = {queue for query in queries() for queue in re.findall(r'queue="([^"]+)"', query)}
    assert named
    assert named <= {queue.name for queue in QUEUES}


def test_buckets_in_queries_exist() -> None:
    bounds = {metric.name: metric.bounds for metric in CATALOGUE if isinstance(metric, Histogram)}
    asked = [found for query in queries() for found in re.findall(r'(carom_\w+)_bucket\{[^}]*le="([^"]+)"', query)]
    assert asked
    for name, bound in asked:
        assert bound == repr(float(bound)), "Prometheus 3 and prometheus-client write it so"
        assert float(bound) in bounds[name]


# Dashboards


@pytest.mark.parametrize("name", PAGES)
def test_dashboards_are_fresh(name: str) -> None:
    assert (FOLDER / name).read_text() == pages.text(PAGES[name]()), "run: make docs"


def test_no_dashboard_is_left_over() -> None:
    assert {path.name for path in DASHBOARDS} == PAGES.keys()


@pytest.mark.parametrize("panel", panels(), ids=str)
def test_panels_are_described(panel: Panel) -> None:
    """In words that say what to do, with a unit, and for the namespaces that were chosen."""
    document = panel.document
    assert len(document["description"]) > 40
    assert document["fieldConfig"]["defaults"]["unit"]
    assert document["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for query in panel.queries:
        assert VARIABLES.findall(query) or query.startswith("count (ALERTS"), query
    assert len({target["refId"] for target in document["targets"]}) == len(document["targets"])


@pytest.mark.parametrize("name", boards())
def test_variables_are_there(name: str) -> None:
    """Sources, namespaces, and a tenant that leads to logs and traces; all that is used, and none that does nothing."""
    board = boards()[name]
    given = {variable["name"] for variable in board["templating"]["list"]}
    assert given >= {"datasource", "namespace", "tenant", "logs", "traces"}
    used = set(VARIABLES.findall(json.dumps({"panels": board["panels"], "links": board["links"]})))
    assert used - {"__from", "__to"} == given


def test_metrics_name_no_tenant() -> None:
    """As the variable says: one that did would have to be filtered by it."""
    assert [metric.name for metric in CATALOGUE if "tenant" in metric.label_names] == []


def test_panels_do_not_overlap() -> None:
    for name, board in boards().items():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            grid = panel["gridPos"]
            cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
            assert not taken & cells, (name, panel["title"])
            assert grid["x"] + grid["w"] <= 24
            taken |= cells


def test_latencies_of_the_path_lead_to_traces() -> None:
    """By exemplar, on every hop that has its trace at hand."""
    leading = {
        name
        for panel in panels()
        for target in panel.document["targets"]
        if target.get("exemplar")
        for name in re.findall(r"(carom_\w+)_bucket", target["expr"])
    }
    assert leading >= {
        "carom_submit_duration_seconds",
        "carom_queue_wait_seconds",
        "carom_attempt_duration_seconds",
        "carom_callback_duration_seconds",
        "carom_end_to_end_seconds",
        "carom_lateness_seconds",
    }


def test_a_unit_and_its_levels_are_the_same_everywhere() -> None:
    """Whatever it is grouped by, a query has one unit and the same thresholds on every dashboard; so has a title."""
    seen: dict[str, Any] = {}
    for panel in panels():
        defaults = panel.document["fieldConfig"]["defaults"]
        look = defaults["unit"], defaults["thresholds"]["steps"]
        for same in {panel.title, *(re.sub(r" by \([^)]*\)", "", query) for query in panel.queries)}:
            assert seen.setdefault(same, look) == look, panel


def red(panel: Panel) -> float:
    """From where on a panel is red: the last of its steps, or the end of the first where less is worse."""
    steps = panel.document["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return float(steps[1 if steps[0]["color"] == "red" else -1]["value"])


def limit(name: str, severity: str) -> float:
    """What an alert compares with. Of what is counted, one is more than none."""
    (expr,) = [a["expr"] for a in alerts() if (a["alert"], a["labels"]["severity"]) == (name, severity)]
    (product, *_) = re.findall(r"\) [<>] ([\d.* ]+)", expr)
    return math.prod(float(factor) for factor in product.split("*")) or 1


@pytest.mark.parametrize("title", RED_OF)
def test_red_is_where_the_alert_fires(title: str) -> None:
    found = [panel for panel in panels() if panel.title == title]
    assert found
    assert {red(panel) for panel in found} == {limit(*alert) for alert in RED_OF[title]}


# Rendered


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


def test_runbooks_and_objectives_are_values() -> None:
    given = {"runbookBaseUrl": "https://wiki.example/runbooks/", "objectives": {"begin": "0.95"}}
    values = helm.merged(helm.DEV, {"monitoring": {"prometheusRule": {"enabled": True, **given}}})
    documents = helm.render(values).all("PrometheusRule")
    rendered = [rule for each in documents for group in each["spec"]["groups"] for rule in group["rules"]]
    for rule in rendered:
        if "alert" in rule:
            assert rule["annotations"]["runbook_url"] == f"https://wiki.example/runbooks/{rule['alert']}.md"
    objectives = {r["labels"]["slo"]: r["expr"] for r in rendered if r.get("record") == "carom:slo_objective"}
    assert objectives == {"accept": "vector(0.999)", "begin": "vector(0.95)", "callback": "vector(0.99)"}


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


def test_the_exporters_of_broker_and_store_are_read(manifests: helm.Manifests) -> None:
    """RabbitMQ's figures of single queues are on a page of their own."""
    queues = {"family": ["queue_coarse_metrics", "queue_consumer_count"]}
    pages: dict[str, tuple[int, list[dict[str, Any]]]] = {
        "rabbitmq": (15692, [{"path": "/metrics"}, {"path": "/metrics/detailed", "params": queues}]),
        "redis": (9121, [{"path": "/metrics"}]),
    }
    for name, (port, wanted) in pages.items():
        monitor = manifests.get("ServiceMonitor", f"carom-{name}")
        assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
        common = {"port": "prometheus", "interval": "15s"}
        assert monitor["spec"]["endpoints"] == [common | page for page in wanted]
        selector = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = [s for s in manifests.all("Service") if selector <= s["metadata"]["labels"].items()]
        assert {"name": "prometheus", "port": port, "targetPort": "prometheus"} in service["spec"]["ports"]
        containers = manifests.get("StatefulSet", f"carom-{name}")["spec"]["template"]["spec"]["containers"]
        assert {"name": "prometheus", "containerPort": port} in [p for c in containers for p in c["ports"]]
        (_, scraping) = manifests.get("NetworkPolicy", f"carom-{name}")["spec"]["ingress"]
        assert scraping["ports"] == [{"protocol": "TCP", "port": port}]
        (peer,) = scraping["from"]
        assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    assert manifests.get("ConfigMap", "carom-rabbitmq")["data"]["enabled_plugins"] == "[rabbitmq_prometheus].\n"


def test_an_upgrade_leaves_the_broker_alone_where_nobody_reads_its_exporter() -> None:
    """Another pod template restarts it, and meanwhile nothing is accepted."""
    manifests = helm.render(helm.DEV)
    assert set(manifests.get("ConfigMap", "carom-rabbitmq")["data"]) == {"90-carom.conf", "advanced.config"}
    (container,) = manifests.get("StatefulSet", "carom-rabbitmq")["spec"]["template"]["spec"]["containers"]
    assert [port["name"] for port in container["ports"]] == ["amqp"]


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
