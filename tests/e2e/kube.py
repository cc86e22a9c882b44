"""kubectl on one namespace, and what tests ask of its pods."""

import json
import os
import subprocess
import urllib.error
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from devstack.process import wait_until

Object = dict[str, Any]

LABEL = "carom-e2e"
"""Of every namespace that the tests make."""


class CommandError(AssertionError):
    """A command failed; the text is what it printed."""


def run(*command: str, stdin: str = "", seconds: float = 60) -> str:
    """The output of a command that must succeed; what it complains about is in the failure."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds)
    if done.returncode:
        raise CommandError(f"{' '.join(command)[:300]}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def until(ready: Callable[[], bool], seconds: float, what: str, interval: float = 0.5) -> None:
    """Poll until `ready()`. A command or request that fails is no answer yet: pods come and go, servers may be busy."""
    failures: list[str] = []

    def asked() -> bool:
        failures.clear()
        try:
            return ready()
        except (CommandError, subprocess.TimeoutExpired, urllib.error.URLError, ConnectionError, TimeoutError) as error:
            failures.append(f"\n{error}")
            return False

    assert wait_until(asked, seconds, interval), f"not within {seconds:g} s: {what}{''.join(failures)}"


def api_resources(*flags: str) -> list[str]:
    """Lines of kubectl, which fails while one of the servers of the API does not answer: then it is asked again."""
    found: list[str] = []

    def answered() -> bool:
        found.extend(run("kubectl", "api-resources", *flags).splitlines())
        return True

    until(answered, 120, "all of the API answers", 2)
    return found


class Kube:
    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(self, *arguments: str, stdin: str = "", seconds: float = 60) -> str:
        return run("kubectl", "--namespace", self.namespace, *arguments, stdin=stdin, seconds=seconds)

    def create_namespace(self) -> None:
        """Anew, under the restricted pod security profile."""
        labels = {LABEL: "true", "pod-security.kubernetes.io/enforce": "restricted"}
        self.delete_namespace()
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        self("create", "--filename", "-", stdin=json.dumps(document))

    def delete_namespace(self) -> None:
        self("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=150s", seconds=160)

    @classmethod
    @contextmanager
    def in_namespace(cls, name: str) -> Iterator[Self]:
        """One that is made anew and deleted at the end, unless E2E_KEEP says that it stays."""
        kube = cls(name)
        kube.create_namespace()
        yield kube
        if "E2E_KEEP" not in os.environ:
            kube.delete_namespace()

    def items(self, kind: str, selector: str = "") -> list[Object]:
        found: list[Object] = json.loads(self("get", kind, "--output", "json", "--selector", selector))["items"]
        return found

    def one(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self("get", kind, name, "--output", "json"))
        return found

    def pods(self, component: str = "", release: str = "") -> list[Object]:
        """Pods that are there to stay, of one component or of all; those of Jobs come and go."""
        parts = {"component": component, "instance": release}
        selector = ",".join(f"app.kubernetes.io/{key}={value}" for key, value in parts.items() if value)
        pods = self.items("pods", selector)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and not _is_of_a_job(pod)]

    def python(self, pod: Object, code: str, *arguments: str) -> str:
        """The output of a script that runs in a pod of ours."""
        command = ["exec", name_of(pod), "--", "/opt/carom/bin/python", "-c", code, *arguments]
        return self(*command)

    def restarts(self) -> dict[str, int]:
        """Restarts by pod."""
        return {name_of(pod): restarts_of(pod) for pod in self.pods()}


def _is_of_a_job(pod: Object) -> bool:
    return any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences", []))


def name_of(found: Object) -> str:
    return str(found["metadata"]["name"])


def uid_of(found: Object) -> str:
    return str(found["metadata"]["uid"])


def restarts_of(pod: Object) -> int:
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def processes(pod: Object) -> list[int]:
    """Processes of a pod's first container, as this machine sees them; none where it may not signal them."""
    container = pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]

    def belongs(folder: Path) -> bool:
        try:
            return container in (folder / "cgroup").read_text()
        except OSError:
            return False

    if os.geteuid() != 0:
        return []
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and belongs(folder)]


def signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        # Its parent's end may have been its own.
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def sleeping_pod(name: str, image: str) -> Object:
    """A pod that does nothing, within the restricted profile."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": name,
        "image": image,
        "command": ["/opt/carom/bin/python", "-c", "import time; time.sleep(3600)"],
        "securityContext": security,
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def dump(directory: Path) -> None:
    """Everything that explains a failure, of all namespaces of the tests, as files."""

    def keep(name: str, *command: str) -> None:
        done = subprocess.run(["kubectl", *command], capture_output=True, text=True, timeout=60)
        if text := done.stdout + done.stderr:
            (directory / name).write_text(text)

    keep("nodes.txt", "describe", "nodes")
    keep("pods.txt", "get", "pods", "--all-namespaces", "--output", "wide")
    names = run("kubectl", "get", "namespaces", "--selector", LABEL, "--output", "name")
    for namespace in (line.removeprefix("namespace/") for line in names.splitlines()):
        within = ("--namespace", namespace)
        keep(f"{namespace}.events.txt", *within, "get", "events", "--sort-by", ".lastTimestamp")
        keep(f"{namespace}.describe.txt", *within, "describe", "pods,deployments,statefulsets,scaledobjects")
        for pod in Kube(namespace).items("pods"):
            logs = (*within, "logs", name_of(pod), "--all-containers", "--timestamps")
            keep(f"{namespace}.{name_of(pod)}.log", *logs)
            if restarts_of(pod):
                keep(f"{namespace}.{name_of(pod)}.previous.log", *logs, "--previous")
