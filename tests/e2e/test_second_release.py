"""A second release beside the first, from install to uninstall: HTTPRoute, KEDA, upgrade, rollback, what is left."""

import json
import shutil
import ssl
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from tests.e2e import tls
from tests.e2e.conftest import MakeRelease, UnderLoad
from tests.e2e.kube import Object, api_resources, name_of, run, until
from tests.e2e.release import Release, merged, previous_chart
from tests.e2e.world import World
from tests.support.chart import SERVICES
from tests.support.load import Kind
from tests.support.scenario import Scenario, assert_all_kept
from tests.support.witness import Witness

from carom_intake.domain.keys import Scope, new_key
from devstack.process import wait_until

SECOND = "carom-second"
KEYS = "callers"
OWN_KEYS = {"auth": {"existingSecret": KEYS}}
BACKLOG = 400
CALM_RATE = 3
"""Jobs a second that one executor does easily, two seconds each: some run in each of three when two are stopped."""
SLOW = Kind("two seconds", "200:2000", 3, "completed", 1)
KEDA_SECONDS = 240
METRICS_SECONDS = 120
CERTIFICATE_SECONDS = 60


@pytest.fixture(scope="module")
def apis() -> set[str]:
    """As `version.group`, also of one whose server does not answer just now: that is not to skip its tests."""
    return {name.rpartition("/")[2] for name in run("kubectl", "get", "apiservices", "--output", "name").split()}


@pytest.fixture(scope="module")
def values(apis: set[str], world: World) -> Object:
    """Through the Gateway and scaled by KEDA, where the cluster has them."""
    made: Object = {
        "intake": {"replicas": 2},
        "executor": {"config": {"executorConcurrency": 10, "executorMaxHeld": 10}},
    }
    if "v1.gateway.networking.k8s.io" in apis and world.ingress:
        gateway = {"name": "public", "namespace": world.ingress_namespace}
        made["httpRoute"] = {"enabled": True, "parentRefs": [gateway], "hostnames": [f"{SECOND}.test"]}
    if world.ingress:
        hosts = [f"tls.{SECOND}.test"]
        made["ingress"] = {
            "enabled": True,
            "hosts": hosts,
            "tls": {"enabled": True, "secretName": "ours"},
            # Traefik, where its port for HTTPS has no TLS by default: it would take the certificate and know no host.
            "annotations": {"traefik.ingress.kubernetes.io/router.tls": "true"},
        }
    if "v1beta1.metrics.k8s.io" in apis:
        # As many at least as at most: it has its metric, and the tests have as many pods as they think.
        made["intake"] = {"autoscaling": {"type": "hpa", "minReplicas": 2, "maxReplicas": 2}}
    if "v1alpha1.keda.sh" in apis:
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
    with new_release("relay", SECOND) as release:
        # Keys are there before the chart that wants them: its pods know the callers of the load from the start.
        made = new_key("admin", "default", [Scope.ADMIN])
        keys = json.dumps({"keys": [msgspec.to_builtins(made.key)]})
        literals = (f"--from-literal=keys.json={keys}", f"--from-literal=admin-key={made.token}")
        release.kube("create", "secret", "generic", KEYS, *literals)
        release.keys = KEYS
        known = "auth" in yaml.safe_load((origin[1] / "values.yaml").read_text())
        # A chart that knows no keys gives none to images that want them.
        variables = release.values({}).get("defaults", {}).get("extraEnv", [])
        unlocked = {"intake": {"extraEnv": [*variables, {"name": "CAROM_AUTH", "value": "off"}]}}
        release.install(merged(values, OWN_KEYS if known else unlocked), origin[1])
        yield release


def test_two_releases_do_not_know_of_each_other(carom: Release, second: Release) -> None:
    ours, theirs = carom.round_trip(), second.round_trip()

    assert second.request(f"/api/jobs/{ours}")[0] == 404
    assert carom.request(f"/api/jobs/{theirs}")[0] == 404


def test_a_job_goes_in_through_the_gateway(second: Release, values: Object) -> None:
    if "httpRoute" not in values:
        pytest.skip("this cluster has no Gateway")
    hosts = {rule["host"] for ingress in second.kube.items("ingresses") for rule in ingress["spec"]["rules"]}
    assert second.host not in hosts

    second.round_trip()


def test_a_job_goes_in_by_https_with_our_certificate(
    second: Release, values: Object, world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "ingress" not in values:
        pytest.skip("this cluster has no ingress controller")
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    [host] = values["ingress"]["hosts"]
    certificate, key = tls.make_certificate(tmp_path, host)
    # Not helm's: it is taken away again, or it would be left at the end.
    second.kube("create", "secret", "tls", "ours", f"--cert={certificate}", f"--key={key}")
    request.addfinalizer(lambda: second.kube("delete", "secret", "ours"))
    address = urllib.parse.urlsplit(world.ingress).hostname or ""
    body = {"targetUrl": second.witness.target("200:20"), "callbackUrl": second.witness.receiver()}
    answers: list[Any] = []

    def accepted() -> bool:
        """The controller takes the certificate up soon after the Secret is there; until then it serves its own."""
        try:
            status, answer = tls.post(address, host, certificate, "/api/jobs", second.headers(), body)
        except ssl.SSLError as error:
            status, answer = 0, error
        answers.append((status, answer))
        return status == 202

    assert wait_until(accepted, CERTIFICATE_SECONDS, 1), f"{answers[-1]}"
    job_id = answers[-1][1]["jobId"]
    until(lambda: bool(second.witness.taken(job_id)), 60, f"a callback of {job_id}")


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
    # While two are stopped all three have work: which they finish, or it would be called again.
    calm = second.load([SLOW])
    running = calm.steady(CALM_RATE)
    try:
        until(lambda: executors(second) == 1, KEDA_SECONDS, "one executor after the backlog", 1)
        second.settle()
    finally:
        calm.stop()
    running.result(60)
    calm.await_callbacks(KEDA_SECONDS)

    assert_all_kept(load)
    assert_all_kept(calm)
    assert calm.repeated_calls() == 0, "scaling down is no reason to call twice"
    assert not load.stale(load.settled_records())


def test_the_autoscaler_of_intake_reads_its_cpu(second: Release, values: Object) -> None:
    if "autoscaling" not in values["intake"]:
        pytest.skip("this cluster has no metrics API")

    def reads() -> bool:
        status = second.kube.one("horizontalpodautoscaler", second.full("intake"))["status"]
        active = {condition["type"]: condition["status"] for condition in status.get("conditions", [])}
        metrics = [metric.get("resource", {}) for metric in status.get("currentMetrics") or []]
        known = any("averageUtilization" in metric.get("current", {}) for metric in metrics)
        return known and active.get("ScalingActive") == "True"

    until(reads, METRICS_SECONDS, "the autoscaler knows the CPU of intake", 1)


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
        second.upgrade(merged(values, {"config": {"logLevel": "debug"}, **OWN_KEYS}))
        second.settle()
        assert config_of(second) == "debug"
        assert not uids & {pod["metadata"]["uid"] for service in SERVICES for pod in second.pods(service)}
        second.helm("rollback", str(first), "--wait", "--timeout", "5m")
        second.settle()
        assert config_of(second) == "info"

    scenario.note += f", from {origin[0]}"
    assert set(load.answers) == {"202"}, f"the ingress answered {dict(load.answers)}"


def left(release: Release, kinds: str) -> list[str]:
    """What is in the namespace, but for what Kubernetes or we put there, and records of what was."""
    names = release.kube("get", kinds, "--output", "name", "--ignore-not-found").split()
    given = ("configmap/kube-root-ca.crt", "serviceaccount/default", f"secret/{KEYS}")
    return [name for name in names if name not in given and not name.startswith(("event", "podmetrics", "pod.metrics"))]


def test_uninstalling_leaves_nothing_but_claims(second: Release) -> None:
    kinds = [
        kind
        for kind in api_resources("--namespaced", "--verbs=list", "--output=name")
        if not kind.startswith("events") and not kind.endswith("metrics.k8s.io")
    ]
    claims = {f"persistentvolumeclaim/{name_of(claim)}" for claim in second.kube.items("persistentvolumeclaims")}
    assert len(claims) == 2

    second.helm("uninstall", "--wait", "--timeout", "4m")

    everything = ",".join(kinds)
    found: set[str] = set()

    def nothing_else() -> bool:
        found.clear()
        found.update(left(second, everything))
        return found == claims

    assert wait_until(nothing_else, 90, 1), f"left are {found}"
    everywhere = api_resources("--namespaced=false", "--verbs=list", "--output=name")
    selector = f"app.kubernetes.io/instance={second.name}"
    assert not run("kubectl", "get", ",".join(everywhere), "--selector", selector, "--output", "name").split()


def test_the_first_release_is_as_it_was(carom: Release, witness: Witness) -> None:
    carom.round_trip()
