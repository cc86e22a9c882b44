"""A second release beside the first, from install to uninstall: HTTPRoute, KEDA, upgrade, rollback, what is left."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import MakeRelease, UnderLoad
from tests.e2e.kube import Object, name_of, run, until
from tests.e2e.release import Release, merged, previous_chart
from tests.e2e.world import World
from tests.support.chart import SERVICES
from tests.support.load import Kind
from tests.support.scenario import Scenario, assert_all_kept
from tests.support.witness import Witness

from devstack.process import wait_until

BACKLOG = 400
SLOW = Kind("two seconds", "200:2000", 3, "completed", 1)
KEDA_SECONDS = 150


@pytest.fixture(scope="module")
def apis() -> set[str]:
    return set(run("kubectl", "api-versions").split())


@pytest.fixture(scope="module")
def values(apis: set[str], world: World) -> Object:
    """Through the Gateway and scaled by KEDA, where the cluster has them."""
    made: Object = {
        "intake": {"replicas": 2},
        "executor": {"config": {"executorConcurrency": 10, "executorMaxHeld": 10}},
    }
    if "gateway.networking.k8s.io/v1" in apis and world.ingress:
        gateway = {"name": "public", "namespace": world.ingress_namespace}
        made["httpRoute"] = {"enabled": True, "parentRefs": [gateway], "hostnames": ["carom-second.test"]}
    if "keda.sh/v1alpha1" in apis:
        made["executor"]["autoscaling"] = {
            "type": "keda",
            "minReplicas": 1,
            "maxReplicas": 3,
            "queueLength": 40,
            "pollingInterval": 5,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 15}},
        }
    return made


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The chart that the release is installed from, before it is upgraded to this one."""
    return previous_chart(tmp_path_factory.mktemp("previous"))


@pytest.fixture(scope="module")
def second(new_release: MakeRelease, values: Object, origin: tuple[str, Path]) -> Iterator[Release]:
    with new_release("relay", "carom-second") as release:
        release.install(values, origin[1])
        yield release


def test_two_releases_do_not_know_of_each_other(carom: Release, second: Release) -> None:
    ours, theirs = carom.round_trip(), second.round_trip()

    assert second.request(f"/api/jobs/{ours}")[0] == 404
    assert carom.request(f"/api/jobs/{theirs}")[0] == 404


def test_a_job_goes_in_through_the_gateway(second: Release, values: Object) -> None:
    if "httpRoute" not in values:
        pytest.skip("this cluster has no Gateway")
    assert not second.kube.items("ingresses")

    second.round_trip()


def executors(release: Release) -> int:
    return int(release.kube.one("deployment", release.full("executor"))["spec"]["replicas"])


def test_keda_scales_the_executor_by_its_backlog_and_back(second: Release, values: Object, scenario: Scenario) -> None:
    if "autoscaling" not in values["executor"]:
        pytest.skip("this cluster has no KEDA")
    second.settle()
    until(lambda: executors(second) == 1, KEDA_SECONDS, "one executor before the backlog", 1)
    load = scenario.load = second.load([SLOW])

    scenario.broken()
    load.burst(BACKLOG).result(60)
    until(lambda: executors(second) == 3, KEDA_SECONDS, "three executors for the backlog", 1)
    scenario.note = f"3 executors with {len(load.unfinished())} jobs left"
    load.await_callbacks(KEDA_SECONDS)
    scenario.recovered()
    until(lambda: executors(second) == 1, KEDA_SECONDS, "one executor after the backlog", 1)
    second.settle()

    assert_all_kept(load)
    assert load.repeated_calls() == 0, "scaling down is no reason to call twice"
    assert not load.stale(load.settled_records())


def config_of(release: Release) -> str:
    return str(release.kube.one("configmap", release.full("intake"))["data"]["CAROM_LOG_LEVEL"])


def revision_of(release: Release) -> int:
    return int(json.loads(release.helm("status", "--output", "json"))["version"])


def test_an_upgrade_and_a_rollback_refuse_nothing(
    second: Release, values: Object, origin: tuple[str, Path], under_load: UnderLoad, scenario: Scenario
) -> None:
    """To this chart with a changed setting, which replaces every pod, and back."""
    second.settle()
    first = revision_of(second)
    uids = {pod["metadata"]["uid"] for service in SERVICES for pod in second.pods(service)}

    with under_load(second, proxy_may_refuse=False) as load:
        second.upgrade(merged(values, {"config": {"logLevel": "debug"}}))
        second.settle()
        assert config_of(second) == "debug"
        assert not uids & {pod["metadata"]["uid"] for service in SERVICES for pod in second.pods(service)}
        second.helm("rollback", str(first), "--wait", "--timeout", "5m")
        second.settle()
        assert config_of(second) == "info"

    scenario.note += f", from {origin[0]}"
    assert set(load.answers) == {"202"}, f"the ingress answered {dict(load.answers)}"


def left(release: Release, kinds: str) -> list[str]:
    """What is in the namespace, but for what Kubernetes puts into every one, and records of what was."""
    names = release.kube("get", kinds, "--output", "name", "--ignore-not-found").split()
    given = ("configmap/kube-root-ca.crt", "serviceaccount/default")
    return [name for name in names if name not in given and not name.startswith(("event", "podmetrics", "pod.metrics"))]


def test_uninstalling_leaves_nothing_but_claims(second: Release) -> None:
    kinds = [
        kind
        for kind in run("kubectl", "api-resources", "--namespaced", "--verbs=list", "--output", "name").split()
        if not kind.startswith("events") and not kind.endswith("metrics.k8s.io")
    ]
    claims = {f"persistentvolumeclaim/{name_of(claim)}" for claim in second.kube.items("persistentvolumeclaims")}
    assert len(claims) == 2

    second.helm("uninstall", "--wait", "--timeout", "4m")

    everything = ",".join(kinds)
    wait_until(lambda: set(left(second, everything)) == claims, 60, 1)
    assert set(left(second, everything)) == claims
    everywhere = run("kubectl", "api-resources", "--namespaced=false", "--verbs=list", "--output", "name").split()
    selector = f"app.kubernetes.io/instance={second.name}"
    assert not run("kubectl", "get", ",".join(everywhere), "--selector", selector, "--output", "name").split()


def test_the_first_release_is_as_it_was(carom: Release, witness: Witness) -> None:
    carom.round_trip()
