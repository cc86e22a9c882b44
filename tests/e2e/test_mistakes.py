"""What a mistake shows its user: one sentence to act on, at render, in `kubectl describe` or in the pod's log."""

import json
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.kube import Kube, Object, run, until
from tests.e2e.world import World
from tests.support.chart import CHART

PASSWORD = "hidden-from-logs"


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    with Kube.in_namespace("carom-mistakes") as made:
        yield made


Install = Callable[[str, Object], None]


@pytest.fixture
def install(kube: Kube, world: World) -> Install:
    def installed(name: str, values: Object) -> None:
        command = ["helm", "install", name, str(CHART), "--namespace", kube.namespace, "--values", "-"]
        ours = {"image": {"tag": world.tag}, "encryption": {"allowClear": True}}
        run(*command, stdin=json.dumps(ours | values))

    return installed


def test_a_release_without_a_broker_is_refused(install: Install) -> None:
    with pytest.raises(AssertionError, match=r"No broker is named: set broker\.url"):
        install("nothing", {})


def test_a_missing_secret_is_named(kube: Kube, install: Install) -> None:
    install("secretless", {"broker": {"existingSecret": "nowhere"}, "store": {"existingSecret": "nowhere"}})

    def named() -> bool:
        return 'secret "nowhere" not found' in kube("describe", "pods")

    until(named, 120, "the missing Secret is named in kubectl describe pods", 1)


def test_an_unreachable_broker_is_named(kube: Kube, install: Install) -> None:
    broker = f"amqp://carom:{PASSWORD}@rabbitmq.nowhere.svc:5672/"
    install("brokerless", {"broker": {"url": broker}, "store": {"url": "redis://redis.nowhere.svc:6379/0"}})

    def log() -> str:
        pods = kube.pods(release="brokerless")
        started = [pod for pod in pods if pod["status"].get("initContainerStatuses", [{}])[0].get("started")]
        return "".join(kube("logs", pod["metadata"]["name"], "--container=declare-topology") for pod in started)

    until(lambda: "waiting_for_broker" in log(), 120, "a pod says that it waits for the broker", 1)
    text = log()
    assert "rabbitmq.nowhere.svc" in text
    assert PASSWORD not in text
