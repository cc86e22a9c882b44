"""Pods die, databases restart, all is rolled out anew, nodes go: under load, and nothing answered with 202 is lost."""

import signal

import pytest
from tests.e2e.conftest import UnderLoad
from tests.e2e.kube import Object, is_ready, name_of, processes, restarts_of, run, signal_all, until
from tests.e2e.release import Release
from tests.e2e.world import World
from tests.support.chart import SERVICES
from tests.support.load import Load

REPLACED_SECONDS = 150
NODE_GONE_SECONDS = 240
"""Until a dead node is noticed, its pods are given up, and others have taken their place."""


def assert_never_refused(load: Load) -> None:
    assert set(load.answers) == {"202"}, f"the ingress answered {dict(load.answers)}"


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_is_deleted_by_force(carom: Release, under_load: UnderLoad, service: str) -> None:
    [victim, *_] = carom.pods(service)

    def replaced() -> bool:
        pods = carom.pods(service)
        return name_of(victim) not in map(name_of, pods) and sum(map(is_ready, pods)) >= 2

    with under_load(carom):
        carom.kube("delete", "pod", name_of(victim), "--force", "--grace-period=0")
        until(replaced, REPLACED_SECONDS, f"another pod takes the place of {name_of(victim)}")


@pytest.mark.parametrize("service", SERVICES)
def test_a_process_is_killed_outright(carom: Release, under_load: UnderLoad, service: str) -> None:
    [victim, *_] = carom.pods(service)
    found = processes(victim)
    if not found:
        pytest.skip("the processes of pods cannot be killed from here")

    def restarted() -> bool:
        pod = carom.kube.one("pod", name_of(victim))
        return restarts_of(pod) > restarts_of(victim) and is_ready(pod)

    with under_load(carom):
        signal_all(found, signal.SIGKILL)
        until(restarted, REPLACED_SECONDS, f"{name_of(victim)} is restarted")


@pytest.mark.parametrize("database", ["rabbitmq", "redis"])
def test_a_database_restarts(carom: Release, under_load: UnderLoad, database: str) -> None:
    before = carom.kube.restarts()
    [old] = carom.pods(database)

    with under_load(carom):
        carom.kube("rollout", "restart", f"statefulset/{carom.full(database)}")
        carom.settle()

    restarts = carom.kube.restarts()
    del before[name_of(old)]
    assert {name: restarts[name] for name in before} == before, "a service was restarted for a database's restart"


@pytest.fixture
def worker(carom: Release) -> str:
    """A node with pods of every service, and none of the databases, whose volumes could not follow."""
    held = {node_of(pod) for name in ("rabbitmq", "redis") for pod in carom.pods(name)}
    free = {name_of(node) for node in carom.kube.items("nodes", "!node-role.kubernetes.io/control-plane")} - held
    if not free:
        pytest.skip("every node has a database")

    def nodes(service: str) -> set[str]:
        return {node_of(pod) for pod in carom.pods(service)} & free

    if not all(map(nodes, SERVICES)):
        # Nothing moves to a node that came back: new pods are spread again.
        carom.kube("rollout", "restart", *(f"deployment/{carom.full(service)}" for service in SERVICES))
        carom.settle()
    return max(free, key=lambda node: sum(node in nodes(service) for service in SERVICES))


def node_of(pod: Object) -> str:
    return str(pod["spec"].get("nodeName"))


def pods_on(carom: Release, node: str) -> list[str]:
    return [name_of(pod) for pod in carom.kube.pods(release=carom.name) if node_of(pod) == node]


def test_a_node_is_drained(carom: Release, under_load: UnderLoad, worker: str) -> None:
    assert pods_on(carom, worker)
    flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=150s")
    try:
        with under_load(carom):
            run("kubectl", "drain", worker, *flags, seconds=160)
            assert not pods_on(carom, worker)
            carom.settle()
    finally:
        run("kubectl", "uncordon", worker)


def test_everything_is_rolled_out_anew_without_a_refusal(carom: Release, under_load: UnderLoad) -> None:
    """Between drain and power-off: it spreads the pods over the nodes again, or the next test would have to."""
    with under_load(carom, proxy_may_refuse=False) as load:
        carom.kube("rollout", "restart", *(f"deployment/{carom.full(service)}" for service in SERVICES))
        carom.settle()

    assert_never_refused(load)


def node_is_ready(carom: Release, node: str) -> bool:
    conditions = carom.kube.one("node", node)["status"]["conditions"]
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def test_a_node_is_powered_off_and_on(carom: Release, under_load: UnderLoad, worker: str, world: World) -> None:
    if not world.power:
        pytest.skip("nodes of this cluster cannot be powered off from here")

    def replaced() -> bool:
        """Every service is whole again elsewhere."""
        return all(
            len([pod for pod in carom.pods(service) if is_ready(pod) and node_of(pod) != worker]) >= 2
            for service in SERVICES
        )

    assert pods_on(carom, worker)
    is_off = False
    try:
        with under_load(carom):
            run(*world.power, "stop", worker)
            is_off = True
            until(lambda: not node_is_ready(carom, worker), NODE_GONE_SECONDS, f"{worker} is missed", 1)
            until(replaced, NODE_GONE_SECONDS, f"the pods of {worker} have been replaced", 1)
            run(*world.power, "start", worker)
            is_off = False
            until(lambda: node_is_ready(carom, worker), NODE_GONE_SECONDS, f"{worker} is back", 1)
            carom.settle()
    finally:
        if is_off:
            run(*world.power, "start", worker)
