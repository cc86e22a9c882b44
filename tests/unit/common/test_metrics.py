"""The catalogue of metrics: bounded, used, and readable by prometheus-client's own parsers."""

import ast
import math
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from carom_common import __version__
from carom_common.admin import Health, admin_app
from carom_common.telemetry import metrics
from carom_common.telemetry.marks import Marks, ms
from carom_common.telemetry.metrics import kinds
from carom_common.telemetry.metrics.kinds import EXECUTOR, Counter, Gauge, Histogram, Labels, Service, one_of
from carom_common.telemetry.trace import sampled_trace

SERVICES = Path(__file__).resolve().parents[3] / "services"
SERVICE_NAMES: tuple[Service, ...] = ("intake", "executor", "callback")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """A registry; metrics made in the test are in no catalogue but its own."""
    monkeypatch.setattr(kinds, "CATALOGUE", [])
    return CollectorRegistry()


async def scraped(registry: CollectorRegistry, headers: dict[str, str]) -> httpx.Response:
    transport = httpx.ASGITransport(admin_app(Health({}, frozenset()), registry=registry))
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        return await client.get("/metrics", headers=headers)


async def test_a_scrape_has_the_values_that_were_counted(own: CollectorRegistry) -> None:
    jobs = Counter("carom_jobs_total", "Jobs.", "-", EXECUTOR, one_of("how", "well", "badly", "other"))
    depth = Gauge("carom_depth", "Depth.", "-", EXECUTOR)
    took = Histogram("carom_took_seconds", "Took.", "-", EXECUTOR, (0.1, 1, 10))
    for metric in (jobs, depth, took):
        metric.begin("executor")
        own.register(metric)
    jobs.labels("well").inc()
    jobs.labels("well").inc(2)
    jobs.labels("never heard of").inc()
    depth.set_function(lambda: 7)
    for seconds in (0.05, 0.1, 0.5, 100):
        took.observe(seconds)
    answer = await scraped(own, {})
    assert answer.headers["content-type"].startswith("text/plain")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in parse_text(answer.text)
        for sample in family.samples
    }
    assert found == {
        ("carom_jobs_total", "well"): 3,
        ("carom_jobs_total", "badly"): 0,
        ("carom_jobs_total", "other"): 1,
        ("carom_depth",): 7,
        ("carom_took_seconds_bucket", "0.1"): 2,  # a bound is inclusive
        ("carom_took_seconds_bucket", "1.0"): 3,
        ("carom_took_seconds_bucket", "10.0"): 3,
        ("carom_took_seconds_bucket", "+Inf"): 4,
        ("carom_took_seconds_sum",): 100.65,
        ("carom_took_seconds_count",): 4,
    }


async def test_exemplars_are_told_in_openmetrics_only_and_of_sampled_traces_only(own: CollectorRegistry) -> None:
    took = Histogram("carom_took_seconds", "Took.", "-", EXECUTOR, (0.1, 1, 10))
    own.register(took)
    took.observe(0.05, sampled_trace(f"00-{TRACE}-00f067aa0ba902b7-00"))
    took.observe(0.5, sampled_trace(f"00-{TRACE}-00f067aa0ba902b7-01"))
    answer = await scraped(own, OPENMETRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    [family] = parse_openmetrics(answer.text)  # type: ignore[no-untyped-call]
    told = {sample.labels["le"]: sample.exemplar for sample in family.samples if sample.name.endswith("_bucket")}
    assert told["1.0"].labels == {"trace_id": TRACE}
    assert told["1.0"].value == 0.5
    assert [bound for bound, exemplar in told.items() if exemplar is not None] == ["1.0"]
    assert TRACE not in (await scraped(own, {})).text


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("03", True), ("02", False), ("ff", True)])
def test_the_flag_says_whether_a_trace_is_recorded(flags: str, sampled: bool) -> None:
    assert sampled_trace(f"00-{TRACE}-00f067aa0ba902b7-{flags}") == (TRACE if sampled else "")
    assert sampled_trace("") == ""


@pytest.mark.parametrize("service", SERVICE_NAMES)
async def test_a_service_tells_its_own_metrics_from_the_start(service: Service) -> None:
    registry = CollectorRegistry()
    metrics.begin(service, registry)
    text = (await scraped(registry, OPENMETRICS)).text
    families = {family.name: family for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]
    for metric in metrics.CATALOGUE:
        name = metric.name.removesuffix("_total")
        assert (name in families) == (service in metric.by)
        if name in families and metric.kind != "gauge":
            told = {
                tuple(sample.labels.get(label, "") for label in metric.label_names) for sample in families[name].samples
            }
            kinds = {series for series in metric.declared if service in metric.by}
            assert told <= kinds
            assert told
    assert families["carom_build_info"].samples[0].labels["version"] == __version__


def test_the_catalogue_says_what_to_do_and_has_no_name_twice() -> None:
    names = [metric.name for metric in metrics.CATALOGUE]
    assert len(names) == len(set(names)) > 60
    for metric in metrics.CATALOGUE:
        assert metric.name.startswith("carom_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.meaning.endswith(".")
        assert metric.high.endswith((".", "_total", "_seconds"))
        assert "|" not in metric.meaning + metric.high  # it is a row of a table
        assert not {"host", "url", "tenant", "job_id", "id", "path"} & set(metric.label_names)


def test_metrics_that_are_named_in_the_catalogue_exist() -> None:
    names = {metric.name for metric in metrics.CATALOGUE}
    for metric in metrics.CATALOGUE:
        words = (word.strip(".,:;()'") for word in f"{metric.meaning} {metric.high}".split())
        assert {word for word in words if word.startswith("carom_")} <= names, metric.name


def test_every_metric_is_used_by_the_services_that_tell_it() -> None:
    """Nothing is in the catalogue that nobody counts: its name in code is an attribute of `metrics` somewhere."""
    used: dict[str, set[str]] = {}
    for path in SERVICES.rglob("*.py"):
        if "telemetry/metrics" in str(path):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "metrics":
                used.setdefault(node.attr, set()).add(path.relative_to(SERVICES).parts[0])
    named = {name: metric for name, metric in vars(metrics).items() if metric in metrics.CATALOGUE}
    assert len(named) == len(metrics.CATALOGUE)
    for name, metric in named.items():
        if name == "build_info":  # by `begin`
            continue
        assert used.get(name, set()) & {"common", *metric.by}, name


def test_nothing_that_is_sent_makes_a_series(own: CollectorRegistry) -> None:
    refused = Counter("carom_refused_total", "Refused.", "-", EXECUTOR, one_of("status", "400", "503"))
    both = Labels(("kind", "step"), (("execute", "claim"), ("execute", "settle")))
    steps = Histogram("carom_steps_seconds", "Steps.", "-", EXECUTOR, (1,), both)
    own.register(refused)
    own.register(steps)
    for number in range(1000):
        refused.labels(str(number)).inc()
        steps.labels("execute", f"step {number}").observe(1)
        steps.labels(f"kind {number}", "claim").observe(1)
    assert len(next(refused.collect()).samples) == 3  # 400, 503, other
    assert len(next(steps.collect()).samples) == 2 * 4
    with pytest.raises(ValueError, match="labels"):
        refused.labels("400", "too many")


def test_marks_say_where_the_time_went() -> None:
    marks = Marks()
    marks.arrived, marks.began, marks.claimed, marks.called, marks.settled, marks.published = (
        1,
        1.5,
        1.501,
        3,
        3.25,
        3.25,
    )
    marks.call, marks.queued, marks.sent, marks.received = 1.4, 7.25, 10, 20
    assert marks.spent() == {
        "queue_ms": 7250.0,
        "slot_ms": 500.0,
        "claim_ms": 1.0,
        "duration_ms": 1400.0,
        "settle_ms": 250.0,
        "publish_ms": 0.0,
        "sent_bytes": 10,
        "received_bytes": 20,
    }
    fresh = Marks().spent()
    assert [fresh[name] for name in ("queue_ms", "settle_ms", "publish_ms")] == [None] * 3
    assert math.isclose(ms(0.00123), 1.2)
