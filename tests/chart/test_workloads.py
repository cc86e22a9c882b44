"""What the chart promises about pods: settings, probes, shutdown, scaling, evictions, spreading, security profile."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import helm
from tests.support.fsck import Fsck

from carom_callback.settings import CallbackSettings
from carom_common import topology
from carom_common.settings import Settings, variable
from carom_executor.settings import ExecutorSettings
from carom_intake.settings import IntakeSettings

SETTINGS: dict[str, type[Settings]] = {
    "intake": IntakeSettings,
    "executor": ExecutorSettings,
    "callback": CallbackSettings,
}
SECRETS = {"RABBITMQ_URL", "REDIS_URL", "CAROM_CALLBACK_SECRET", "CAROM_ENCRYPTION_KEYS"}
SIGNED = {"callback": {"signing": {"existingSecret": "signing"}}, "signing": {"existingSecret": "keys"}}
DRAIN_MARGIN = 10
"""Seconds between the end of the drain and the kill, for what the services close after it."""

every_component = pytest.mark.parametrize("component", helm.COMPONENTS)
every_file = pytest.mark.parametrize("path", helm.CI, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def minimal() -> helm.Manifests:
    return helm.render(helm.MINIMAL)


def environment(manifests: helm.Manifests, component: str) -> dict[str, str]:
    """All variables of a component; those of a Secret as `secret/key`."""
    found = dict(manifests.settings(component))
    for entry in manifests.container(component)["env"]:
        source = entry.get("valueFrom", {}).get("secretKeyRef")
        found[entry["name"]] = f"{source['name']}/{source['key']}" if source else entry["value"]
    return found


# Settings


@every_component
def test_every_setting_is_set(component: str) -> None:
    given = environment(helm.render(helm.merged(helm.MINIMAL, SIGNED)), component)
    kind = SETTINGS[component]
    assert given.keys() == {variable(kind, field) for field in kind.model_fields}


@every_component
def test_defaults_are_those_of_the_services(
    component: str, minimal: helm.Manifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the service itself reads what the ConfigMap says; the chart alone declares the topology."""
    # The service looks for its keys where only a pod has them.
    settings = minimal.settings(component) | {"CAROM_AUTH": "off"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert component != "intake" or minimal.settings(component)["CAROM_AUTH"] == "keys"
    kind = SETTINGS[component]
    read, default = kind().model_dump(), {name: field.default for name, field in kind.model_fields.items()}
    # The chart's business: who declares, and the one name that helm test needs.
    ours = {"declare_topology": True, "egress_allow": (), "auth": "keys", "keys_file": ""}
    assert read | {name: value for name, value in ours.items() if name in read} == default


OTHERS: dict[str, Any] = {
    "config": {
        "host": "::",
        "adminPort": 9091,
        "logLevel": "debug",
        "logFormat": "console",
        "logSample": 0.25,
        "sensitiveHeaders": ["X-Customer", "X-Internal-*"],
        "retention": 2_000_000,
        "deadRetention": 30_000_000,
        "consumerTimeout": 3600.5,
        "destinations": '{"api.example": {"concurrency": 5}}',
        "destinationConcurrency": 7,
        "circuitFailures": 3,
        "circuitOpen": 5.5,
    },
    "tracing": {
        "endpoint": "https://collector.example.com:4318",
        "ratio": 0.5,
        "sampler": "traceidratio",
        "errors": False,
        "queueSize": 1024,
    },
    "topology": {"declaredBy": "services"},
    "auth": {"enabled": False},
    "test": {"enabled": False},
    "defaults": {"shutdown": {"drainSeconds": 7.5}},
    "egress": {
        "allow": ["10.0.0.0/8", "intranet.example.com"],
        "deny": ["192.0.2.1"],
        "schemes": ["https"],
        "ports": ["443"],
        "blockedPorts": [],
        "rules": {"*": {"targets": ["*.example.com"]}},
        "proxy": {"url": "http://proxy.example.com:3128"},
    },
    "intake": {
        "config": {
            "port": 3100,
            "maxPayload": 1_000_000,
            "maxBody": 4_000_000,
            "maxBatchBody": 8_000_000,
            "maxBacklog": 5_000_000,
            "maxStreams": 17,
            "streamSeconds": 60,
            "headTimeout": 5.5,
            "bodyTimeout": 60,
            "operatorTenant": "operators",
            "trustedProxies": "10.0.0.0/8",
            "keyRate": 5.5,
            "keyBurst": 50,
            "tenantJobs": 1000,
            "tenantBytes": 1_000_000,
        }
    },
    "executor": {"config": {"maxResponse": 1_000_000, "executorConcurrency": 7, "executorMaxHeld": 0}},
    "callback": {
        "config": {
            "maxResponse": 2048,
            "callbackConcurrency": 8,
            "callbackMaxHeld": 9,
            "callbackTimeout": 0.5,
            "callbackDelays": [0.5, 86400],
        },
    },
}


@every_component
def test_every_setting_can_be_set(component: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting keeps its default when all values are others, and the service takes them all."""
    manifests = helm.render(helm.merged(helm.MINIMAL, OTHERS, {"callback": {"signing": {"existingSecret": "s"}}}))
    kind = SETTINGS[component]
    for name, value in manifests.settings(component).items():
        monkeypatch.setenv(name, value)
    read = kind().model_dump()
    secret = {field for field in kind.model_fields if variable(kind, field) in SECRETS}
    same = {n for n, f in kind.model_fields.items() if read[n] == f.default and not n.startswith("oidc_")} - secret
    # `services` is what the services do when nobody tells them otherwise; without keys there is no file of them, and no
    # OIDC. Only a pod has the files of egress.tls (test_egress.py) and of TLS to broker and store (below).
    mounted = {f"{part}_{kind}_file" for part in ("broker", "store") for kind in ("ca", "cert", "key")}
    assert same - mounted - {"keys_file", "signing_file", "egress_tls"} == {"declare_topology"}
    assert helm.render(helm.MINIMAL).settings(component)["CAROM_DECLARE_TOPOLOGY"] == "false"


def test_ports_follow_the_settings() -> None:
    manifests = helm.render(helm.merged(helm.MINIMAL, OTHERS))
    assert manifests.container("intake")["ports"] == [
        {"name": "http", "containerPort": 3100},
        {"name": "admin", "containerPort": 9091},
    ]
    (rule,) = manifests.get("NetworkPolicy", "carom-intake")["spec"]["ingress"] or [{}]
    assert manifests.get("Service", "carom-intake")["spec"]["ports"][0]["targetPort"] == "http"
    assert manifests.get("Service", "carom-executor-admin")["spec"]["ports"][0]["port"] == 9091
    assert rule == {}


@every_component
def test_a_changed_setting_or_url_replaces_pods(component: str) -> None:
    def template(values: helm.Values) -> helm.Object:
        spec: helm.Object = helm.render(values).get("Deployment", f"carom-{component}")["spec"]["template"]
        return spec

    before = {"broker": {"url": "amqp://a:b@c"}, "store": {"url": "redis://a"}, "encryption": {"keys": "a"}}
    assert template(before) == template(before)
    for change in (
        {"config": {"logLevel": "debug"}},
        {"broker": {"url": "amqp://a:c@c"}},
        {"store": {"url": "redis://b"}},
        {"encryption": {"keys": "b"}},
    ):
        assert template(helm.merged(before, change)) != template(before)
    # Nothing random may be in it: pods would be replaced by every upgrade.
    assert template(helm.DEV) == template(helm.DEV)


# Connections


def test_keys_at_rest_are_for_every_service_and_those_that_sign_for_two() -> None:
    manifests = helm.rendered(helm.CHART / "ci/external-secrets-values.yaml")
    for component in helm.COMPONENTS:
        given = environment(manifests, component)
        assert given["CAROM_ENCRYPTION_KEYS"] == "carom-encryption/at-rest"
        assert ("CAROM_CALLBACK_SECRET" in given) is (component != "intake")
        assert given["CAROM_SIGNING_FILE"] == "/etc/carom/signing/signing.json"
        (volume,) = (volume for volume in manifests.pod(component)["volumes"] if volume["name"] == "signing")
        # Intake only publishes: it has no private key.
        assert volume["secret"]["secretName"] == (
            "carom-public-keys" if component == "intake" else "carom-signing-keys"
        )
        (mount,) = (m for m in manifests.container(component)["volumeMounts"] if m["name"] == "signing")
        assert (mount["mountPath"], mount["readOnly"], "subPath" in mount) == ("/etc/carom/signing", True, False)
    inline = helm.render(helm.merged(helm.MINIMAL, {"encryption": {"existingSecret": "", "keys": "a1:x"}}))
    assert inline.get("Secret", "carom-encryption")["stringData"] == {"keys": "a1:x"}
    assert environment(inline, "executor")["CAROM_ENCRYPTION_KEYS"] == "carom-encryption/keys"
    clear = helm.render(helm.merged(helm.MINIMAL, {"encryption": {"existingSecret": "", "allowClear": True}}))
    assert "CAROM_ENCRYPTION_KEYS" not in environment(clear, "executor")


def test_certificates_are_mounted_where_the_services_look_for_them() -> None:
    """Directories, so that what is renewed arrives; the init container sees those of the broker alone."""
    manifests = helm.rendered(helm.CHART / "ci/external-secrets-values.yaml")
    for component in helm.COMPONENTS:
        settings, pod = manifests.settings(component), manifests.pod(component)
        places = {mount["mountPath"]: mount for mount in manifests.container(component)["volumeMounts"]}
        sources = {volume["name"]: volume.get("secret", {}) for volume in pod["volumes"]}
        files = {name: file for name, file in settings.items() if name.startswith(("CAROM_BROKER_", "CAROM_STORE_"))}
        assert {name for name, file in files.items() if not file} == {"CAROM_STORE_CERT_FILE", "CAROM_STORE_KEY_FILE"}
        for file in filter(None, files.values()):
            mount = places[str(Path(file).parent)]
            assert mount["readOnly"] is True
            assert Path(file).name in [item["path"] for item in sources[mount["name"]]["items"]]
        assert sources["broker-ca"]["secretName"] == "carom-broker-ca"
        assert sources["broker-client"]["defaultMode"] == 0o440
        assert sources["store-ca"]["items"] == [{"key": "bundle.pem", "path": "ca.crt"}]
        (init,) = pod["initContainers"]
        assert [mount["name"] for mount in init["volumeMounts"]] == ["broker-ca", "broker-client"]
        assert {entry["name"]: entry.get("value") for entry in init["env"]}.items() >= {
            (name, file) for name, file in files.items() if "_BROKER_" in name
        }
    job = manifests.get("Job", "carom-topology")["spec"]["template"]["spec"]
    assert [volume["name"] for volume in job["volumes"]] == ["broker-ca", "broker-client"]


def test_urls_come_from_the_secrets_that_are_named() -> None:
    manifests = helm.rendered(helm.CHART / "ci/external-secrets-values.yaml")
    assert manifests.all("Secret") == []
    for component in helm.COMPONENTS:
        given = environment(manifests, component)
        assert given["RABBITMQ_URL"] == f"carom-{component}/url"
        assert given["REDIS_URL"] == (
            "carom-store-executor/url" if component == "executor" else "carom-store/redis-url"
        )
        (init,) = manifests.pod(component)["initContainers"]
        assert init["env"][-1]["valueFrom"]["secretKeyRef"] == {"name": "carom-topology", "key": "amqp-url"}
        assert manifests.container(component)["image"] == f"registry.example.com/relay/carom-{component}:0.1.0"
        assert manifests.pod(component)["imagePullSecrets"] == [{"name": "registry"}]
    assert environment(manifests, "callback")["CAROM_CALLBACK_SECRET"] == "carom-signing/secret"


@pytest.mark.parametrize(
    "path", [p for p in helm.CI if "external" not in p.name and "ha" not in p.stem.split("-")], ids=lambda p: p.stem
)
def test_the_charts_own_secrets_have_what_pods_ask_for(path: Path) -> None:
    """All but the token of a collector, which is somebody else's."""
    manifests = helm.rendered(path)
    secrets = manifests.all("Secret")
    held = {f"{s['metadata']['name']}/{key}" for s in secrets for key in s.get("stringData", {}) | s.get("data", {})}
    asked = set()
    for pod in helm.pod_templates(manifests).values():
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            for entry in container.get("env", []):
                source = entry.get("valueFrom", {}).get("secretKeyRef")
                if source and entry["name"] != "OTEL_EXPORTER_OTLP_HEADERS":
                    asked.add(f"{source['name']}/{source['key']}")
    assert asked
    assert asked <= held
    configs = manifests.names("ConfigMap")
    for component in helm.COMPONENTS:
        (source,) = manifests.container(component)["envFrom"]
        assert source["configMapRef"]["name"] in configs


def test_urls_in_values_are_kept_in_secrets_only() -> None:
    values = {
        "broker": {"url": "amqp://u:hush@h"},
        "store": {"url": "redis://:hush@h"},
        "callback": {"signing": {"secret": "hush"}},
        "encryption": {"keys": "a1:hush"},
    }
    manifests = helm.render(values)
    assert [d["kind"] for d in manifests.objects if "hush" in str(d)] == ["Secret"] * 5


# Topology


@every_component
def test_an_init_container_declares_the_topology(component: str, minimal: helm.Manifests) -> None:
    (init,) = minimal.pod(component)["initContainers"]
    assert init["args"] == ["declare-topology"]
    assert init["image"] == minimal.container(component)["image"]
    assert minimal.settings(component)["CAROM_DECLARE_TOPOLOGY"] == "false"


@pytest.mark.parametrize(("who", "declares"), [("services", "true"), ("external", "false")])
def test_others_may_declare_it(who: str, declares: str) -> None:
    manifests = helm.render(helm.merged(helm.MINIMAL, {"topology": {"declaredBy": who}}))
    for component in helm.COMPONENTS:
        assert "initContainers" not in manifests.pod(component)
        assert manifests.settings(component)["CAROM_DECLARE_TOPOLOGY"] == declares
    assert manifests.all("Job") == []


def test_an_upgrade_declares_first_and_an_install_has_no_hook() -> None:
    """The job needs nothing that comes with the upgrade itself, so all of it are hooks, and none runs at install."""
    manifests = helm.rendered(helm.CHART / "ci/minimal-values.yaml")
    job = manifests.get("Job", "carom-topology")
    hooks = {
        f"{d['kind']}/{d['metadata']['name']}": d["metadata"]["annotations"]["helm.sh/hook"]
        for d in manifests.objects
        if "helm.sh/hook" in d["metadata"].get("annotations", {})
    }
    assert hooks == {
        **dict.fromkeys(
            (
                "Job/carom-topology",
                "Secret/carom-topology",
                "ServiceAccount/carom-topology",
                "NetworkPolicy/carom-topology",
            ),
            "pre-upgrade",
        ),
        "Pod/carom-test": "test",
    }
    spec = job["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "carom-topology"
    assert spec["containers"][0]["env"][-1]["valueFrom"]["secretKeyRef"] == {"name": "carom-topology", "key": "url"}
    weights = {
        d["kind"]: int(d["metadata"]["annotations"]["helm.sh/hook-weight"])
        for d in manifests.objects
        if d["metadata"]["name"] == "carom-topology"
    }
    assert all(weights[kind] < weights["Job"] for kind in weights if kind != "Job")
    # The broker of dependencies.dev may not be there yet: its topology is left to the init containers.
    assert helm.render(helm.DEV).all("Job") == []


# fsck


def fsck_pod(manifests: helm.Manifests) -> helm.Object:
    spec: helm.Object = manifests.get("CronJob", "carom-fsck")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def test_fsck_runs_from_time_to_time_one_at_a_time(minimal: helm.Manifests) -> None:
    spec = minimal.get("CronJob", "carom-fsck")["spec"]
    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("*/15 * * * *", "Forbid")
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 1800
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (1, 3)
    pod = fsck_pod(minimal)
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert container["image"] == minimal.container("intake")["image"]
    assert container["args"] == ["fsck", "--json", "--repair", "--wait=1000"]
    assert container["envFrom"] == minimal.container("intake")["envFrom"]


async def test_fsck_understands_the_arguments_that_the_chart_gives() -> None:
    """All of them, up to a server that is not there."""
    values = {"fsck": {"repair": False, "deep": True, "waitSeconds": 7, "schedule": "7 * * * *"}}
    manifests = helm.render(helm.merged(helm.MINIMAL, values))
    assert manifests.get("CronJob", "carom-fsck")["spec"]["schedule"] == "7 * * * *"
    name, *arguments = fsck_pod(manifests)["containers"][0]["args"]
    assert (name, arguments) == ("fsck", ["--json", "--dry-run", "--wait=7", "--deep"])
    process = await Fsck({"REDIS_URL": "redis://127.0.0.1:1/0"}).start(*arguments)
    out, _ = await process.communicate()
    assert process.returncode == 2
    assert b'"repair":false' in out


def test_fsck_has_a_broker_user_of_its_own_and_intakes_rights_in_the_store() -> None:
    users = {
        "broker": {"users": {"fsck": {"existingSecret": "f"}}},
        "store": {"users": {"intake": {"existingSecret": "i"}}},
    }
    (container,) = fsck_pod(helm.render(helm.merged(helm.MINIMAL, users)))["containers"]
    secrets = {entry["name"]: entry["valueFrom"]["secretKeyRef"]["name"] for entry in container["env"]}
    assert secrets == {"RABBITMQ_URL": "f", "REDIS_URL": "i", "CAROM_ENCRYPTION_KEYS": "encryption"}
    pod = fsck_pod(helm.rendered(helm.CHART / "ci/external-secrets-values.yaml"))
    names = ["broker-ca", "broker-client", "store-ca"]
    assert [volume["name"] for volume in pod["volumes"]][:3] == names
    assert [mount["name"] for mount in pod["containers"][0]["volumeMounts"]][:3] == names


def test_without_fsck_nothing_of_it_is_there_and_no_user_is_asked_for() -> None:
    manifests = helm.render(helm.merged(helm.MINIMAL, {"fsck": {"enabled": False}}))
    assert [d for d in manifests.objects if d["metadata"]["name"] == "carom-fsck"] == []


# Probes and shutdown


@every_component
def test_probes_ask_the_right_endpoints(component: str, minimal: helm.Manifests) -> None:
    container = minimal.container(component)
    paths = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "admin"}
        assert container[probe]["timeoutSeconds"] <= container[probe]["periodSeconds"] or probe == "startupProbe"
    # A start may take longer than a liveness probe would wait.
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    assert (
        startup["periodSeconds"] * startup["failureThreshold"]
        >= 60
        > liveness["periodSeconds"] * liveness["failureThreshold"]
    )


@every_component
def test_a_wedged_process_has_less_time_than_a_shutdown(component: str, minimal: helm.Manifests) -> None:
    container = minimal.container(component)
    given = {"probes": {"liveness": {"terminationGracePeriodSeconds": 20}}}
    other = helm.render(helm.merged(helm.MINIMAL, {component: given})).container(component)

    assert container["livenessProbe"]["terminationGracePeriodSeconds"] == 15
    assert other["livenessProbe"]["terminationGracePeriodSeconds"] == 20
    # Time enough for preStop, should the process hear SIGTERM after all.
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] < 15
    # A start that takes too long is ended as a shutdown is; readiness ends nothing.
    for probe in ("startupProbe", "readinessProbe"):
        assert "terminationGracePeriodSeconds" not in container[probe]


@every_file
@every_component
def test_the_shutdown_budget(component: str, path: Path) -> None:
    """preStop and drain fit into the grace period, with time to close."""
    manifests = helm.rendered(path)
    sleep = manifests.container(component)["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = float(manifests.settings(component)["CAROM_SHUTDOWN_TIMEOUT"])
    assert sleep + drain + DRAIN_MARGIN <= manifests.pod(component)["terminationGracePeriodSeconds"]


@pytest.mark.parametrize(
    ("shutdown", "grace"),
    [
        ({}, 55),
        ({"drainSeconds": 300}, 325),
        ({"preStopSleepSeconds": 0, "drainSeconds": 10.5}, 26),
        ({"terminationGracePeriodSeconds": 41}, 41),
        ({"terminationGracePeriodSeconds": "45"}, 45),
    ],
)
def test_the_grace_period_is_derived_unless_given(shutdown: helm.Values, grace: int) -> None:
    manifests = helm.render(helm.merged(helm.MINIMAL, {"executor": {"shutdown": shutdown}}))
    assert manifests.pod("executor")["terminationGracePeriodSeconds"] == grace
    assert ("lifecycle" in manifests.container("executor")) == (shutdown.get("preStopSleepSeconds") != 0)
    assert manifests.pod("callback")["terminationGracePeriodSeconds"] == 55


# Scaling, evictions, spreading


@every_file
@every_component
def test_replicas_have_one_owner(component: str, path: Path) -> None:
    manifests = helm.rendered(path)
    name = f"carom-{component}"
    owners = [
        ("replicas" in manifests.get("Deployment", name)["spec"]),
        name in manifests.names("HorizontalPodAutoscaler"),
        name in manifests.names("ScaledObject"),
    ]
    assert owners.count(True) == 1


def test_hpa() -> None:
    manifests = helm.rendered(helm.CHART / "ci/hpa-values.yaml")
    for component in helm.COMPONENTS:
        spec = manifests.get("HorizontalPodAutoscaler", f"carom-{component}")["spec"]
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"carom-{component}"}
        assert spec["metrics"][0]["resource"]["name"] == "cpu"
        # A share of nothing is nothing.
        assert "cpu" in manifests.container(component)["resources"]["requests"]


@pytest.mark.parametrize(
    ("component", "queues"),
    [
        ("executor", [*topology.EXECUTE_QUEUES.values(), topology.HELD_EXECUTE_QUEUE]),
        ("callback", [topology.CALLBACK_QUEUE]),
    ],
)
def test_keda_looks_at_the_queues_of_the_service(component: str, queues: list[str]) -> None:
    manifests = helm.rendered(helm.CHART / "ci/keda-values.yaml")
    spec = manifests.get("ScaledObject", f"carom-{component}")["spec"]
    assert [trigger["metadata"]["queueName"] for trigger in spec["triggers"]] == queues
    assert spec["scaleTargetRef"]["name"] == f"carom-{component}"
    assert spec["minReplicaCount"] >= 1, "work that waits in the broker needs somebody to run it at its time"
    for trigger in spec["triggers"]:
        assert trigger["metadata"]["value"] == "50"
        authentication = manifests.get("TriggerAuthentication", trigger["authenticationRef"]["name"])["spec"]
        assert authentication["secretTargetRef"] == [{"parameter": "host", "name": "carom-rabbitmq", "key": "url"}]


def test_evictions_are_limited_once_there_is_more_than_one_pod(minimal: helm.Manifests) -> None:
    assert minimal.all("PodDisruptionBudget") == []
    manifests = helm.rendered(helm.CHART / "ci/ha-values.yaml")
    budgets = {c: manifests.get("PodDisruptionBudget", f"carom-{c}")["spec"] for c in helm.COMPONENTS}
    assert budgets["intake"]["minAvailable"] == 2
    assert "maxUnavailable" not in budgets["intake"]
    assert budgets["executor"]["maxUnavailable"] == budgets["callback"]["maxUnavailable"] == 1
    for component, spec in budgets.items():
        assert spec["selector"] == manifests.get("Deployment", f"carom-{component}")["spec"]["selector"]
    scaled = helm.rendered(helm.CHART / "ci/keda-values.yaml")
    assert scaled.names("PodDisruptionBudget") == {"carom-executor", "carom-callback"}
    off = helm.render(helm.merged(helm.MINIMAL, {"defaults": {"replicas": 2, "pdb": {"enabled": False}}}))
    assert off.all("PodDisruptionBudget") == []


@every_file
@every_component
def test_spreading_counts_the_services_own_pods(component: str, path: Path) -> None:
    manifests = helm.rendered(path)
    selector = manifests.get("Deployment", f"carom-{component}")["spec"]["selector"]
    constraints = manifests.pod(component)["topologySpreadConstraints"]
    assert constraints
    for constraint in constraints:
        assert constraint["labelSelector"] == selector
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]


def test_a_selector_that_is_given_is_kept() -> None:
    given = {
        "maxSkew": 2,
        "topologyKey": "rack",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"a": "b"}},
    }
    manifests = helm.render(helm.merged(helm.MINIMAL, {"callback": {"topologySpreadConstraints": [given]}}))
    assert manifests.pod("callback")["topologySpreadConstraints"] == [given]


# Labels


@every_file
def test_labels_and_selectors(path: Path) -> None:
    manifests = helm.rendered(path)
    for document in manifests.objects:
        labels = document["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "carom"
        assert labels["app.kubernetes.io/instance"] == "carom"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/version"] == "0.1.0"
        assert labels["helm.sh/chart"] == "carom-0.1.0"
    stable = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
    pods = helm.pod_templates(manifests)
    for document in manifests.all("Deployment", "StatefulSet"):
        selector = document["spec"]["selector"]["matchLabels"]
        assert selector.keys() == stable, "a selector cannot be changed by an upgrade"
        assert selector.items() <= document["spec"]["template"]["metadata"]["labels"].items()
        others = [p for name, p in pods.items() if not name.endswith(f"/{document['metadata']['name']}")]
        assert not [p for p in others if selector.items() <= p["metadata"]["labels"].items()]
    for service in manifests.all("Service"):
        selector = service["spec"]["selector"]
        assert len([p for p in pods.values() if selector.items() <= p["metadata"]["labels"].items()]) == 1


@every_component
def test_a_new_version_of_the_chart_alone_replaces_no_pod(component: str, minimal: helm.Manifests) -> None:
    template = minimal.get("Deployment", f"carom-{component}")["spec"]["template"]
    assert "helm.sh/chart" not in template["metadata"]["labels"]


# What a user may add


@every_component
def test_additions(component: str) -> None:
    manifests = helm.rendered(helm.CHART / "ci/netpol-open-values.yaml")
    container, pod = manifests.container(component), manifests.pod(component)
    assert {"name": "SSL_CERT_DIR", "value": "/company/certificates"} in container["env"]
    assert pod["volumes"][0] == {"name": "company", "emptyDir": {}}
    assert container["volumeMounts"][0]["name"] == "company"
    metadata = manifests.get("Deployment", f"carom-{component}")["spec"]["template"]["metadata"]
    assert metadata["labels"]["cost-center"] == "17"
    assert metadata["labels"]["team"] == "relay"
    assert metadata["annotations"]["example.com/owner"] == "relay"
    placed = helm.rendered(helm.CHART / "ci/ha-values.yaml").pod(component)
    assert placed["priorityClassName"] == "system-cluster-critical"
    assert placed["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert placed["tolerations"][0]["key"] == "relay"
    assert ("affinity" in placed) == (component == "executor")


def test_images() -> None:
    values = {
        "image": {"registry": "r.example.com", "tag": "v9", "pullPolicy": "Always"},
        "executor": {"image": {"repository": "other", "digest": "sha256:" + "0" * 64}},
    }
    manifests = helm.render(helm.merged(helm.MINIMAL, values))
    assert manifests.container("intake")["image"] == "r.example.com/carom-intake:v9"
    assert manifests.container("executor")["image"] == f"r.example.com/other@sha256:{'0' * 64}"
    assert manifests.container("callback")["imagePullPolicy"] == "Always"


def test_a_service_account_that_exists() -> None:
    manifests = helm.render(helm.merged(helm.MINIMAL, {"intake": {"serviceAccount": {"name": "mine"}}}))
    assert manifests.pod("intake")["serviceAccountName"] == "mine"
    assert manifests.names("ServiceAccount") == {"carom-executor", "carom-callback", "carom-topology", "carom-fsck"}


# Security


@every_file
def test_the_restricted_profile(path: Path) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards, rule by rule, and what goes beyond it."""
    pods = helm.pod_templates(helm.rendered(path))
    assert len(pods) >= 4
    for name, pod in pods.items():
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        allowed = {
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        }
        assert all(volume.keys() - {"name"} <= allowed for volume in spec.get("volumes", [])), name
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] == (999 if name.startswith("StatefulSet") else 65532), name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            }, name
            assert all("hostPort" not in port for port in container.get("ports", [])), name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
            assert not container["image"].endswith(":latest"), name
            assert ":" in container["image"], name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name


@every_file
def test_nothing_is_granted(path: Path) -> None:
    manifests = helm.rendered(path)
    kinds = {document["kind"] for document in manifests.objects}
    assert not {kind for kind in kinds if "Role" in kind}
    assert all(account["automountServiceAccountToken"] is False for account in manifests.all("ServiceAccount"))


# Dependencies for trying out


def test_dependencies_keep_their_data() -> None:
    manifests = helm.rendered(helm.CHART / "ci/dev-values.yaml")
    for name, image in (("rabbitmq", "rabbitmq:4"), ("redis", "redis:8")):
        spec = manifests.get("StatefulSet", f"carom-{name}")["spec"]
        assert spec["replicas"] == 1
        (container,) = spec["template"]["spec"]["containers"]
        assert container["image"] == image
        (claim,) = spec["volumeClaimTemplates"]
        assert claim["metadata"]["name"] in {mount["name"] for mount in container["volumeMounts"]}
    secret = manifests.get("Secret", "carom-redis")["stringData"]
    assert "appendonly yes" in secret["redis.conf"]
    assert f"requirepass {secret['password']}\n" in secret["redis.conf"]
    assert helm.render(helm.MINIMAL).all("StatefulSet") == []


def test_passwords_of_dependencies_are_random() -> None:
    first, second = (helm.render(helm.DEV).get("Secret", "carom-redis")["stringData"]["password"] for _ in range(2))
    assert first != second
    assert len(first) == 32


def test_the_broker_waits_as_long_as_the_services_think() -> None:
    config = helm.render(helm.merged(helm.DEV, {"config": {"consumerTimeout": 1801.5}}))
    assert "consumer_timeout = 1801500" in config.get("ConfigMap", "carom-rabbitmq")["data"]["90-carom.conf"]


# Chart


def test_versions() -> None:
    import carom_common

    chart = yaml.safe_load((helm.CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == carom_common.__version__
    with pytest.raises(helm.HelmError, match=r"1\.29"):
        helm.helm("template", "carom", str(helm.CHART), "--kube-version", "1.29.9", values=[helm.MINIMAL])
    helm.helm("template", "carom", str(helm.CHART), "--kube-version", "v1.30.4-gke.100", values=[helm.MINIMAL])


def test_two_releases_share_nothing() -> None:
    def names(release: str) -> set[str]:
        manifests = helm.render(helm.DEV, release=release)
        return {f"{d['kind']}/{d['metadata']['name']}" for d in manifests.objects}

    assert not names("one") & names("two")


def test_the_package_has_what_templates_read(tmp_path: Path) -> None:
    helm.helm("package", str(helm.CHART), "--destination", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")
    values = helm.CHART / "ci/observability-values.yaml"
    flags = [flag for api in helm.FOREIGN for flag in ("--api-versions", api)]
    text = helm.helm("template", "carom", str(package), *flags, values=[values])
    assert "carom-dashboard-overview" in text
    assert "submit_job.py" in text
