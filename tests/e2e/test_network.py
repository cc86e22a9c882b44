"""NetworkPolicies tried from inside pods: what they should let through, and what they should stop."""

import json

import pytest
from tests.e2e.kube import Kube, Object, until
from tests.e2e.release import Release
from tests.e2e.world import World
from tests.support.witness import Witness

REACH = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def reach(place):
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
    except OSError as error:
        return type(error).__name__
    return "open"

with ThreadPoolExecutor(32) as pool:
    print(json.dumps(dict(zip(sys.argv[1:], pool.map(reach, sys.argv[1:])))))
"""
SETTLE_SECONDS = 60
"""A policy is enforced soon after its pod runs, not at once."""


def reached(kube: Kube, pod: Object, *places: str) -> dict[str, str]:
    """`open`, or the error of connecting, by `host:port`; no guard is between."""
    found: dict[str, str] = json.loads(kube.python(pod, REACH, *places))
    return found


def assert_reaches(kube: Kube, pod: Object, opened: list[str], closed: list[str]) -> None:
    last: dict[str, str] = {}

    def as_wanted() -> bool:
        last.update(reached(kube, pod, *opened, *closed))
        return all(last[place] == "open" for place in opened) and all(last[place] != "open" for place in closed)

    try:
        until(as_wanted, SETTLE_SECONDS, "reach", 1)
    except AssertionError:
        raise AssertionError(f"should be open: {opened}, closed: {closed}, but are {last}") from None


@pytest.fixture
def port(witness: Witness) -> str:
    return witness.base.rpartition(":")[2]


@pytest.fixture
def private(world: World, port: str) -> list[str]:
    if not world.private:
        pytest.skip("this cluster has no private address outside that answers")
    return [f"{address}:{port}" for address in world.private]


def api_server(pod: Object) -> list[str]:
    """Where the pod would find the API server, unless that is on its own node, which it may reach by definition."""
    slices = Kube("default").items("endpointslices", "kubernetes.io/service-name=kubernetes")
    addresses = {address for found in slices for end in found["endpoints"] for address in end["addresses"]}
    if pod["status"]["hostIP"] in addresses:
        return []
    service = Kube("default").one("service", "kubernetes")["spec"]["clusterIP"]
    return [f"{service}:443", *(f"{address}:{found['ports'][0]['port']}" for found in slices for address in addresses)]


def address_of(pod: Object, port: int) -> str:
    return f"{pod['status']['podIP']}:{port}"


def test_a_pod_without_policies_reaches_all(
    outsider: tuple[Kube, Object], world: World, port: str, private: list[str]
) -> None:
    """What the tests below find closed is closed by a policy, and not for want of a way."""
    assert_reaches(*outsider, [f"{world.address}:{port}", *private], [])


@pytest.mark.parametrize("component", ["executor", "callback"])
def test_a_caller_reaches_public_addresses_only(
    carom: Release, world: World, port: str, private: list[str], component: str
) -> None:
    [intake, *_] = carom.pods("intake")
    [rabbitmq], [redis] = carom.pods("rabbitmq"), carom.pods("redis")
    for pod in carom.pods(component):
        assert_reaches(
            carom.kube,
            pod,
            [f"{world.address}:{port}", address_of(rabbitmq, 5672), address_of(redis, 6379)],
            [*private, address_of(intake, 3000), *api_server(pod)],
        )


def test_intake_reaches_broker_store_and_collector_only(
    carom: Release, world: World, port: str, private: list[str]
) -> None:
    [executor, *_] = carom.pods("executor")
    [rabbitmq], [redis] = carom.pods("rabbitmq"), carom.pods("redis")
    for pod in carom.pods("intake"):
        assert_reaches(
            carom.kube,
            pod,
            [address_of(rabbitmq, 5672), address_of(redis, 6379), f"{world.address}:{port}"],
            [*private, address_of(executor, 8081), *api_server(pod)],
        )


def test_a_pod_of_another_namespace_reaches_nothing_of_carom(carom: Release, outsider: tuple[Kube, Object]) -> None:
    [intake, *_] = carom.pods("intake")
    admin = [address_of(pod, 8081) for part in ("intake", "executor", "callback") for pod in carom.pods(part)]
    databases = [address_of(carom.pods("rabbitmq")[0], 5672), address_of(carom.pods("redis")[0], 6379)]

    assert_reaches(*outsider, [], [address_of(intake, 3000), *admin, *databases])


@pytest.mark.parametrize("host", ["192.168.77.10", "169.254.169.254", "10.96.0.1", "127.0.0.1"])
def test_the_guard_refuses_a_private_target_for_good(carom: Release, witness: Witness, host: str) -> None:
    """Long before a NetworkPolicy would: at once, without a retry, and the callback says why."""
    job_id = carom.submit(f"http://{host}/attempt/200", witness.receiver(), maxRetries=3)

    until(lambda: bool(witness.taken(job_id)), 60, f"a callback of {job_id}")
    _, _, record = carom.request(f"/api/jobs/{job_id}")
    assert (record["status"], len(record["attemptsLog"])) == ("failed", 1)
    assert record["error"].startswith(f"refused by the egress guard: {host} is a"), record["error"]
    assert not witness.called(job_id)
