"""A release of the chart in a namespace of its own, from outside: helm, the API, and whether its pods have settled."""

import base64
import functools
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Mapping
from email.message import Message
from pathlib import Path
from typing import Any

from tests.e2e.kube import Kube, Object, run, until
from tests.e2e.world import World
from tests.support.chart import CHART, ROOT
from tests.support.load import MIXED, Kind, Load
from tests.support.witness import LoopThread, Witness

from devstack.process import wait_until

PROXY_REFUSALS = (500, 502, 503, 504)
"""What a proxy says while a pod behind it is gone; 500 where there is no way to its node any more."""
SETTLE_SECONDS = 240
ACCEPT_SECONDS = 30


class Release:
    def __init__(self, name: str, kube: Kube, world: World, witness: Witness, thread: LoopThread) -> None:
        self.name = name
        self.kube = kube
        self.host = f"{kube.namespace}.test"
        self.witness = witness
        self.keys = self.full("keys")
        """The Secret with the API keys."""
        self._world = world
        self._thread = thread
        self._api = world.ingress

    # helm

    def values(self, more: Object) -> Object:
        """What every release of the tests has, and more."""
        ours: Object = {
            "dependencies": {"dev": {"enabled": True}},
            "image": {"tag": self._world.tag},
            "callback": {"config": {"callbackDelays": [0.2, 0.2, 0.2, 1, 1, 1, 1]}},
        }
        if self._world.ingress:
            ours["networkPolicy"] = {"ingressController": {"namespaces": [self._world.ingress_namespace]}}
        else:
            ours["networkPolicy"] = {"ingressController": {"cidrs": ["0.0.0.0/0"]}}
            ours["intake"] = {"service": {"type": "NodePort"}}
        if self._world.private:
            # Public for the NetworkPolicies, which are tested; the guard knows it as an address for documentation.
            allowed = f"{self._world.address},{self.full('test')}.{self.kube.namespace}.svc"
            ours["defaults"] = {"extraEnv": [{"name": "CAROM_EGRESS_ALLOW", "value": allowed}]}
        else:
            ours["egress"] = {"allow": [self._world.address]}
        return merged(ours, more)

    def install(self, values: Object, chart: Path = CHART) -> None:
        self._helm("install", values, chart)

    def upgrade(self, values: Object, chart: Path = CHART) -> None:
        self._helm("upgrade", values, chart)

    def _helm(self, verb: str, values: Object, chart: Path) -> None:
        command = ["helm", verb, self.name, str(chart), "--namespace", self.kube.namespace, "--values", "-"]
        run(*command, "--wait", "--timeout", "5m", stdin=json.dumps(self.values(values)), seconds=320)

    def helm(self, verb: str, *arguments: str, seconds: float = 320) -> str:
        return run("helm", verb, self.name, *arguments, "--namespace", self.kube.namespace, seconds=seconds)

    # The API

    @property
    def api(self) -> str:
        if not self._api:
            port = self.kube.one("service", self.full("intake"))["spec"]["ports"][0]["nodePort"]
            node = self.kube.items("nodes")[0]["status"]["addresses"]
            address = next(entry["address"] for entry in node if entry["type"] == "InternalIP")
            self._api = f"http://{address}:{port}"
        return self._api

    @functools.cached_property
    def key(self) -> str:
        """The token of the first key."""
        return base64.b64decode(self.kube.one("secret", self.keys)["data"]["admin-key"]).decode()

    def headers(self) -> dict[str, str]:
        """Of every request."""
        return {"Host": self.host, "Authorization": f"Bearer {self.key}"}

    def request(self, path: str, body: Any = None, more: Mapping[str, str] | None = None) -> tuple[int, Message, Any]:
        """Status, headers (in any case) and document; those of an error too. `more` headers go before ours."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.headers(), "Content-Type": "application/json", **(more or {})}
        request = urllib.request.Request(f"{self.api}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, answer.headers, json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            return error.code, error.headers, json.loads(text) if text.startswith("{") else text

    def submit(self, target: str, callback: str | None = None, **fields: Any) -> str:
        """A job that must be accepted; gives its id. A proxy and intake may need a moment after what was before."""
        body = {"targetUrl": target, "callbackUrl": callback, "method": "POST", **fields}
        answers: list[tuple[int, Any]] = []

        def answered() -> bool:
            status, _, answer = self.request("/api/jobs", body)
            answers.append((status, answer))
            # A proxy has no document: also when it does not know the release yet.
            return status != 503 and not (status in (404, *PROXY_REFUSALS) and isinstance(answer, str))

        wait_until(answered, ACCEPT_SECONDS, 1)
        status, answer = answers[-1]
        assert status == 202, f"{status} {answer}"
        return str(answer["jobId"])

    def round_trip(self, seconds: float = 60) -> str:
        """One job to its target and back; gives its id."""
        job_id = self.submit(self.witness.target("200:20"), self.witness.receiver())
        until(lambda: bool(self.witness.taken(job_id)), seconds, f"a callback of job {job_id}")
        [callback, *_] = self.witness.taken(job_id)
        assert (callback.status, callback.attempts) == ("completed", 1)
        return job_id

    def load(self, kinds: Iterable[Kind] = MIXED, refusals: Collection[int] = PROXY_REFUSALS) -> Load:
        # Where nothing may be refused, slow is not refused: the machine may be busy.
        seconds = 10 if refusals else 30
        return Load(self.api, self.witness, self._thread, kinds, self.headers(), refusals, seconds)

    # Its pods

    def full(self, component: str) -> str:
        prefix = self.name if "carom" in self.name else f"{self.name}-carom"
        return f"{prefix}-{component}"

    def pods(self, component: str) -> list[Object]:
        return self.kube.pods(component, self.name)

    def unsettled(self) -> list[str]:
        """Workloads that are not as they are wanted, or still have pods that stop."""
        selector = f"app.kubernetes.io/instance={self.name}"
        found = self.kube.items("deployments,statefulsets", selector)
        waiting = [workload["metadata"]["name"] for workload in found if not _settled(workload)]
        pods = self.kube.items("pods", selector)
        return waiting + [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Return when every workload is ready in full and nothing is stopping."""
        until(lambda: not self.unsettled(), seconds, f"the pods of {self.kube.namespace} are ready", 1)


def _settled(workload: Object) -> bool:
    spec, status = workload["spec"], workload["status"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    return status.get("observedGeneration") == workload["metadata"]["generation"] and set(counts) == {spec["replicas"]}


def merged(values: Object, more: Object) -> Object:
    """Maps in each other, anything else replaced, as helm does it."""
    both = dict(values)
    for key, value in more.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


def previous_chart(directory: Path) -> tuple[str, Path]:
    """The chart of the newest tag that has one, else the first one committed, else this one; and where it is from."""

    def git(*arguments: str) -> list[str]:
        return run("git", "-C", str(ROOT), *arguments).split()

    path = str(CHART.relative_to(ROOT))
    tags = [tag for tag in git("tag", "--sort=-version:refname") if git("ls-tree", tag, f"{path}/Chart.yaml")]
    first = git("log", "--reverse", "--diff-filter=A", "--format=%h", "--", f"{path}/Chart.yaml")
    for revision in [*tags, *first][:1]:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", revision, path], capture_output=True, check=True, timeout=60
        ).stdout
        subprocess.run(["tar", "--extract", "--directory", str(directory)], input=archive, check=True, timeout=60)
        return revision, directory / path
    return "the working tree", CHART
