"""A real Prometheus, and the exporter of Redis, as processes on the loopback interface."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml

from devstack.paths import prometheus_binary
from devstack.ports import free_port
from devstack.probe import status_of
from devstack.process import Process, clean_environment
from devstack.server import Server

SCRAPE_SECONDS = 1


class Target(NamedTuple):
    """What is scraped, and the labels that a cluster would give it."""

    url: str
    labels: Mapping[str, str]
    params: Mapping[str, Sequence[str]] = {}


class Answer(NamedTuple):
    """What a query gave: values by series, and how long it took."""

    series: list[list[float]]
    seconds: float
    error: str

    @property
    def empty(self) -> bool:
        """No series, or none with a number in it."""
        return all(value != value for values in self.series for value in values)


class Prometheus(Server):
    """Scrapes `targets` once a second, evaluates `rules`, keeps exemplars."""

    label = "Prometheus"

    def __init__(self, directory: Path, targets: Sequence[Target], rules: Sequence[Path] = ()) -> None:
        super().__init__(directory, None)
        self.targets = list(targets)
        self.rules = list(rules)
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, **params: Any) -> Any:
        """`data` of an answer of the API."""
        answer = self.client.get(f"/api/v1/{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def query(self, expr: str, start: float, end: float, step: float = SCRAPE_SECONDS) -> Answer:
        """As a panel asks: every `step` seconds from start to end."""
        began = time.monotonic()
        params: dict[str, Any] = {"query": expr, "start": start, "end": end, "step": step}
        document = self.client.get("/api/v1/query_range", params=params).json()
        seconds = time.monotonic() - began
        if document["status"] != "success":
            return Answer([], seconds, document["error"])
        found = document["data"]["result"]
        return Answer([[float(value) for _, value in each["values"]] for each in found], seconds, "")

    def federated(self) -> str:
        """The last sample of every series, as text."""
        answer = self.client.get("/federate", params={"match[]": '{__name__!=""}'})
        assert answer.status_code == 200, answer.text
        return answer.text

    def stop(self) -> None:
        self.client.close()
        super().stop()

    def _prepare(self) -> Process:
        config = {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": "2s"},
            "rule_files": [str(path) for path in self.rules],
            "scrape_configs": [self._scraped(number, target) for number, target in enumerate(self.targets)],
        }
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            prometheus_binary("prometheus"),
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]
        return Process("prometheus", command, clean_environment("PROMETHEUS_"), self.log)

    def _is_ready(self) -> bool:
        return status_of(f"{self.url}/-/ready") == 200

    @staticmethod
    def _scraped(number: int, target: Target) -> dict[str, Any]:
        url = httpx.URL(target.url)
        return {
            "job_name": target.labels.get("job", f"target-{number}") + f"/{number}",
            "metrics_path": url.path,
            "params": {name: list(values) for name, values in target.params.items()},
            "static_configs": [{"targets": [f"{url.host}:{url.port}"], "labels": dict(target.labels)}],
        }


class RedisExporter(Process):
    """`/metrics` of one Redis."""

    def __init__(self, redis_url: str, log: Path) -> None:
        self.port = free_port()
        command = [
            prometheus_binary("prometheus-redis-exporter"),
            f"--redis.addr={redis_url}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        super().__init__("redis-exporter", command, clean_environment("REDIS_"), log)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/metrics"
