"""Every panel's query, on a real Prometheus that scrapes real services under traffic with failures.

RabbitMQ and Redis are scraped through their own exporters. There is no Kubernetes here: what the kubelet and
kube-state-metrics tell of pods is a page that the test makes, and those panels are shown to fit that page, no more.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import aio_pika
import pytest
from redis import Redis as Client
from tests.integration.conftest import ENV, Servers
from tests.support import history
from tests.support.client import Api
from tests.support.intakes import keys_text
from tests.support.observability import RULES, Panel, alerts, boards, panels
from tests.support.prometheus import SCRAPE_SECONDS, Prometheus, RedisExporter
from tests.support.prometheus import Target as Scraped
from tests.support.target import Answer, Target, respond
from tests.support.waiting import eventually

from carom_common.topology import WORK
from carom_intake.domain.keys import Scope, new_key
from devstack.certificates import Authority
from devstack.ports import free_port
from devstack.services import Stack

pytestmark = pytest.mark.stack

SECONDS = 15
"""Of traffic."""
VARIABLES = {"namespace": ".+", "rabbitmq": ".+", "redis": ".+"}
RATE_INTERVAL = "8s"
SLOW_SECONDS = 2.0
"""For one query over the hours that a dashboard shows at first: they take up to 0.3 s on two cores."""
STEP_SECONDS = 15
"""Of Grafana, for three hours on a wide panel."""
VHOST = "panels"
FAST: dict[str, Any] = {"retryDelay": 100, "maxRetries": 1, "retry": {"strategy": "fixed"}}


class Watched(NamedTuple):
    """A Prometheus that has seen the traffic, from when to when, and how a panel asks it."""

    prometheus: Prometheus
    start: float
    end: float
    step: float = SCRAPE_SECONDS
    rate_interval: str = RATE_INTERVAL

    def query(self, expr: str) -> Any:
        return self.prometheus.query(filled(expr, self.rate_interval), self.start, self.end, self.step)


def filled(expr: str, rate_interval: str = RATE_INTERVAL) -> str:
    """A query as Grafana sends it."""
    for name, value in {**VARIABLES, "__rate_interval": rate_interval}.items():
        expr = expr.replace(f"${name}", value)
    assert "$" not in expr, expr
    return expr


async def all_up(prometheus: Prometheus) -> bool:
    """Not by `up`: the two pages of RabbitMQ share it."""
    data = await asyncio.to_thread(prometheus.ask, "targets")
    return all(target["health"] == "up" for target in data["activeTargets"])


def cluster(second: int) -> Answer:
    """What a kubelet and kube-state-metrics would tell of one pod of each service."""
    lines = []
    for kind in ("intake", "executor", "callback"):
        where = f'namespace="carom",pod="carom-{kind}-0",container="{kind}"'
        lines += [
            f'kube_deployment_status_replicas_available{{namespace="carom",deployment="carom-{kind}"}} 1',
            f'kube_deployment_spec_replicas{{namespace="carom",deployment="carom-{kind}"}} 1',
            f"kube_pod_container_status_restarts_total{{{where}}} 0",
            f"container_cpu_usage_seconds_total{{{where}}} {second / 10}",
            f"container_cpu_cfs_periods_total{{{where}}} {second * 10}",
            f"container_cpu_cfs_throttled_periods_total{{{where}}} {second}",
            f"container_memory_working_set_bytes{{{where}}} 9e7",
        ]
    return Answer(200, "\n".join([*lines, ""]).encode(), {"Content-Type": "text/plain; version=0.0.4"})


async def traffic(api: Api, target: Target, limited: str, broker_url: str, seconds: float) -> None:
    """Jobs that succeed, are retried, fail, find nobody, and are held; submissions that are refused or repeated."""
    nobody = f"http://127.0.0.1:{free_port()}/"
    good, bad = target.endpoint(), target.endpoint(respond(503))
    broken = target.endpoint(respond(500))
    for url in [limited] * 40:
        await api.submit(url, good.url)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        traced = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}
        flaky = target.endpoint(respond(503), respond(200))
        await api.submit(good.url, good.url, request_headers=traced)
        await api.submit(flaky.url, good.url, request_headers=traced, **FAST)
        await api.submit(bad.url, good.url, **FAST)
        await api.submit(good.url, broken.url)
        await api.submit(nobody, None, **FAST)
        repeated = {"Idempotency-Key": "always"}
        await api.submit(good.url, good.url, request_headers=repeated)
        assert (await api.post({"targetUrl": 7})).status_code == 400
        assert (await api.post({}, {"Authorization": "Bearer carom_none_of_ours"})).status_code == 401
        await asyncio.sleep(0.25)
    async with await aio_pika.connect(broker_url) as connection:
        channel = await connection.channel()
        work = await channel.get_exchange(WORK, ensure=False)
        await work.publish(aio_pika.Message(b"not ours", message_id="x"), "execute.normal", mandatory=True)


@pytest.fixture(scope="module")
async def watched(servers: Servers) -> AsyncIterator[Watched]:
    directory = servers.directory / "panels"
    directory.mkdir()
    servers.rabbitmq.ctl("add_vhost", VHOST)
    servers.rabbitmq.ctl("set_permissions", "-p", VHOST, "guest", ".*", ".*", ".*")
    broker_url = f"{servers.rabbitmq.url}{VHOST}"
    made = new_key("watched", "default", [Scope.ADMIN], expires_at=datetime.now(UTC) + timedelta(days=3))
    (directory / "keys.json").write_text(keys_text(made))
    authority = Authority(directory / "ca")
    env = ENV | {
        "CAROM_CIRCUIT_FAILURES": "3",
        "CAROM_CIRCUIT_OPEN": "2",
        "CAROM_CALLBACK_DELAYS": "0.1,0.1",
        "CAROM_EGRESS_TLS": json.dumps({"api.example": {"ca": str(authority.file)}}),
    }
    with_keys = {"CAROM_AUTH": "keys", "CAROM_KEYS_FILE": str(directory / "keys.json")}
    exporter = RedisExporter(servers.redis.url, directory / "redis-exporter.log")
    with Client.from_url(servers.redis.url) as redis:
        redis.config_set("maxmemory", "200mb")
        redis.config_set("maxmemory-policy", "noeviction")
        exporter.spawn()
        try:
            async with Target() as target, Target() as slow:
                with Stack(
                    broker_url, f"{servers.redis.url}/8", log=directory, env=env, service_env={"intake": with_keys}
                ) as stack:
                    pages = target.endpoint(*(cluster(second) for second in range(200)))
                    targets = [
                        Scraped(
                            f"{service.admin}/metrics",
                            {"namespace": "carom", "job": f"carom-{service.kind}-admin", "pod": f"{service.kind}-0"},
                        )
                        for service in stack.services
                    ]
                    rabbit = f"http://127.0.0.1:{servers.rabbitmq.metrics_port}/metrics"
                    families = {"family": ["queue_coarse_metrics"], "vhost": [VHOST]}
                    targets += [
                        Scraped(rabbit, {"namespace": "rabbitmq", "job": "rabbitmq"}),
                        Scraped(f"{rabbit}/detailed", {"namespace": "rabbitmq", "job": "rabbitmq"}, families),
                        Scraped(exporter.url, {"namespace": "redis", "job": "redis"}),
                        Scraped(pages.url, {"job": "cluster"}),
                    ]
                    with Prometheus(directory / "prometheus", targets, RULES) as prometheus:
                        api = Api(stack.api)
                        api.http.headers["Authorization"] = f"Bearer {made.token}"
                        start = time.time()
                        rule = {"rate": {"perSecond": 4, "burst": 1}}
                        answer = await api.http.put(f"/api/destinations/{slow.host}", json=rule)
                        assert answer.status_code == 200, answer.text
                        await eventually(lambda: all_up(prometheus), "every target is scraped", 60, 0.25)
                        await asyncio.sleep(1.5)  # executors look at limits once a second
                        await traffic(api, target, slow.endpoint().url, broker_url, SECONDS)
                        await asyncio.sleep(3)
                        await api.aclose()
                        yield Watched(prometheus, start, time.time())
        finally:
            exporter.kill()
            redis.config_set("maxmemory", "0")
            servers.rabbitmq.ctl("delete_vhost", VHOST)


@pytest.fixture(scope="module")
def long_watched(watched: Watched, servers: Servers) -> Iterator[Watched]:
    """Hours of ten replicas of each service."""
    directory = servers.directory / "history"
    directory.mkdir()
    names = {name for panel in panels() for query in panel.queries for name in re.findall(r"[a-z]\w+(?::\w+)*", query)}
    end = history.last_end()
    history.backfill(watched.prometheus.federated(), names, directory / "data", end)
    with Prometheus(directory, []) as prometheus:
        start = end - history.HOURS * 3600
        yield Watched(prometheus, start, end, STEP_SECONDS, f"{4 * history.SCRAPE_SECONDS}s")


def test_everything_is_scraped(watched: Watched) -> None:
    targets = watched.prometheus.ask("targets")["activeTargets"]
    ours = [target for target in targets if target["labels"]["job"] != "cluster"]
    assert len(ours) == 6
    assert {target["scrapeUrl"]: target["lastError"] for target in ours if target["health"] != "up"} == {}


@pytest.mark.parametrize("panel", panels(), ids=str)
def test_no_query_errs_or_is_empty(watched: Watched, panel: Panel) -> None:
    """Without the 0 that some show in place of nothing."""
    for query in panel.queries:
        answer = watched.query(query.removesuffix(" or vector(0)"))
        assert not answer.error, f"{query}: {answer.error}"
        assert not answer.empty, f"{query}: {len(answer.series)} series, no number in them"


@pytest.mark.parametrize("panel", panels(), ids=str)
def test_no_query_is_slow(long_watched: Watched, panel: Panel) -> None:
    """Asked twice, as others may work on this machine."""
    for query in panel.queries:
        answers = [long_watched.query(query) for _ in range(2)]
        assert not answers[0].error, f"{query}: {answers[0].error}"
        seconds = min(answer.seconds for answer in answers)
        assert seconds < SLOW_SECONDS, f"{query} took {seconds:.1f} s"


def test_a_slow_query_would_be_found(long_watched: Watched) -> None:
    """Every replica is there from begin to end; who reads two hours of all series at every step takes much longer."""
    replicas = long_watched.query('carom_broker_up{namespace=~"$namespace", job="carom-executor-admin"}')
    points = history.HOURS * 3600 / STEP_SECONDS
    assert len(replicas.series) == history.PODS
    assert all(len(values) > 0.98 * points for values in replicas.series)
    slow = long_watched.query("count (quantile_over_time(0.5, carom_step_duration_seconds_bucket[2h]))")
    assert slow.seconds > 10 * replicas.seconds


def test_exporters_tell_what_alerts_watch(watched: Watched) -> None:
    """RabbitMQ's and Redis', under each of the names and with the labels that a rule asks for."""
    asked = re.compile(r"(?:rabbitmq|redis)_\w+(?:\{[^}]*\})?|\{__name__=~[^}]*\}")
    selectors = {found for alert in alerts() for found in asked.findall(alert["expr"])}
    assert len(selectors) >= 5
    for selector in selectors:
        names = watched.query(f"count by (__name__) ({selector})")
        assert len(names.series) == selector.count("|") + 1, selector


@pytest.mark.parametrize("name", boards())
def test_namespaces_are_found(watched: Watched, name: str) -> None:
    """What the variables offer: `label_values(metric, namespace)`."""
    for variable in boards()[name]["templating"]["list"]:
        if variable["type"] == "query":
            metric = variable["query"]["query"].removeprefix("label_values(").split(",")[0]
            assert watched.prometheus.ask("label/namespace/values", **{"match[]": metric}), metric


def test_latencies_lead_to_traces(watched: Watched) -> None:
    """Wherever a panel asks for exemplars there are some: ids of the traces that clients began."""
    without = []
    for panel in panels():
        for target in panel.document["targets"]:
            if target.get("exemplar"):
                expr = filled(target["expr"])
                found = watched.prometheus.ask("query_exemplars", query=expr, start=watched.start, end=watched.end)
                traces = [exemplar["labels"].get("trace_id") for series in found for exemplar in series["exemplars"]]
                if not traces or not all(re.fullmatch("[0-9a-f]{32}", trace or "") for trace in traces):
                    without.append(f"{panel}: {target['expr']}")
    assert without == []


def test_alerts_without_patience_fire(watched: Watched) -> None:
    """The traffic had a parked message and dead callbacks, a key that ends soon; the words of alerts are filled in."""
    firing = [alert for alert in watched.prometheus.ask("alerts")["alerts"] if alert["state"] == "firing"]
    assert {alert["labels"]["alertname"] for alert in firing} >= {
        "CaromApiKeyExpires",
        "CaromCallbacksDeadLettered",
        "CaromMessagesParked",
    }
    for alert in firing:
        for text in alert["annotations"].values():
            assert "error expanding" not in text
            assert "{{" not in text


def test_rules_are_evaluated_without_errors(watched: Watched) -> None:
    groups = watched.prometheus.ask("rules")["groups"]
    assert len(groups) >= 9
    assert {
        rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")
    } == {}
