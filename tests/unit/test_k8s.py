"""The files of k8s/ against the code: rights, policies and values name what there is.

No operator and no kind run where these tests do, so their files are checked by the fields that they may use.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import acl, chart, rights

from carom_common.settings import Settings
from carom_common.topology import (
    CALLBACK_QUEUE,
    CRASHED_CALLBACK_QUEUE,
    CRASHED_EXECUTE_QUEUE,
    DEAD,
    DEAD_CALLBACK_QUEUE,
    DEAD_EXECUTE_QUEUE,
    DELAY,
    EXCHANGES,
    EXECUTE_QUEUES,
    HELD_EXECUTE_QUEUE,
    PARKED_QUEUE,
    QUEUES,
    WORK,
)

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
FILES = sorted(K8S.rglob("*.yaml"))
MANIFESTS = [path for path in FILES if "values" not in path.name]
NAMES = {*EXCHANGES, *(queue.name for queue in QUEUES)}
EXECUTE = set(EXECUTE_QUEUES.values())
# Fields of each kind's spec, from the definitions of the operators.
SPECS = {
    "RabbitmqCluster": {"replicas", "resources", "persistence", "rabbitmq", "override"},
    "Vhost": {"name", "rabbitmqClusterReference"},
    "User": {"rabbitmqClusterReference", "importCredentialsSecret"},
    "Permission": {"rabbitmqClusterReference", "vhost", "userReference", "permissions"},
    "Policy": {"rabbitmqClusterReference", "vhost", "name", "pattern", "applyTo", "definition"},
    "ServiceMonitor": {"selector", "endpoints"},
    "PodDisruptionBudget": {"maxUnavailable", "selector"},
    "RedisReplication": {
        "clusterSize", "kubernetesConfig", "redisConfig", "storage", "podSecurityContext", "topologySpreadConstraints",
        "sentinel",
    },
    "Application": {"project", "destination", "source", "syncPolicy"},
}  # fmt: skip


def load(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def named(kind: str) -> dict[str, Any]:
    (found,) = [document for path in MANIFESTS for document in load(path) if document["kind"] == kind]
    return dict(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(K8S)))
def test_files_parse_and_are_explained(path: Path) -> None:
    """Each is YAML with content, and a README of its folder or of k8s names it."""
    assert load(path)
    readmes = [readme.read_text() for readme in (K8S / "README.md", path.parent / "README.md") if readme.exists()]
    assert path.parent.name == "kind" or any(path.name in text for text in readmes)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(K8S)))
def test_objects_have_known_fields(path: Path) -> None:
    for document in load(path):
        kind = document["kind"]
        if kind == "Cluster":
            continue
        assert document["metadata"]["name"]
        assert kind == "Namespace" or document["metadata"]["namespace"]
        if kind in SPECS:
            assert set(document["spec"]) <= SPECS[kind], kind
        else:
            assert kind in ("Namespace", "ConfigMap")


@pytest.mark.parametrize("name", ["dev", "three-zones"])
def test_kind_clusters(name: str) -> None:
    (document,) = load(K8S / f"kind/{name}.yaml")
    assert set(document) == {"kind", "apiVersion", "nodes"}
    assert document["apiVersion"] == "kind.x-k8s.io/v1alpha4"
    roles = [node["role"] for node in document["nodes"]]
    assert roles[0] == "control-plane"
    assert set(roles[1:]) <= {"worker"}
    zones = {node["labels"]["topology.kubernetes.io/zone"] for node in document["nodes"][1:]}
    assert len(zones) == len(roles) - 1


# Rights


def matched(pattern: str) -> set[str]:
    """As the broker matches: anywhere in the name, unless the pattern is anchored."""
    return {name for name in NAMES if re.search(pattern, name)}


WRITE_READ: dict[str, tuple[set[str], set[str]]] = {
    "carom-intake": ({WORK}, set()),
    "carom-executor": ({WORK, DELAY, DEAD}, {*EXECUTE, HELD_EXECUTE_QUEUE, CRASHED_EXECUTE_QUEUE}),
    "carom-callback": ({DELAY, DEAD}, {CALLBACK_QUEUE, CRASHED_CALLBACK_QUEUE}),
    "carom-scaler": ({*EXECUTE, HELD_EXECUTE_QUEUE, CALLBACK_QUEUE}, set()),
    "carom-fsck": ({WORK, *EXECUTE, HELD_EXECUTE_QUEUE, CALLBACK_QUEUE}, {DEAD_EXECUTE_QUEUE, DEAD_CALLBACK_QUEUE}),
}


@pytest.mark.parametrize("user", WRITE_READ)
def test_rights_are_exactly_what_the_task_needs(user: str) -> None:
    given = rights.rights()[user]
    write, read = WRITE_READ[user]
    assert given.configure == "^$"
    assert matched(given.write) == write
    assert matched(given.read) == read
    for pattern in given:
        assert pattern.startswith("^")
        assert pattern.endswith("$")


def test_the_topology_user_may_do_everything_to_our_names_and_nothing_to_others() -> None:
    for pattern in rights.rights()["carom-topology"]:
        assert matched(pattern) == NAMES
        assert not any(re.search(pattern, name) for name in ("amq.topic", "amq.default", "caromx", "other.carom.work"))


def test_every_user_has_rights_and_every_right_a_user() -> None:
    users = [spec["importCredentialsSecret"]["name"] for spec in rights.objects("User")]
    assert users == list(rights.rights())
    assert {spec["vhost"] for spec in rights.objects("Permission", "Policy")} == {"carom"}
    assert [spec["name"] for spec in rights.objects("Vhost")] == ["carom"]


def test_the_table_of_rights_says_what_the_files_say() -> None:
    page = (K8S / "rabbitmq/README.md").read_text()
    rows = re.findall(r"^\| `(carom-\w+)` \| `(.+?)` \| `(.+?)` \| `(.+?)` \|", page, re.MULTILINE)
    table = {user: tuple(cell.replace("\\|", "|") for cell in cells) for user, *cells in rows}
    assert table == {user: tuple(given) for user, given in rights.rights().items()}


def test_dead_letters_are_kept_as_long_as_their_records() -> None:
    (policy,) = rights.objects("Policy")
    assert matched(policy["pattern"]) == {DEAD_EXECUTE_QUEUE, DEAD_CALLBACK_QUEUE, PARKED_QUEUE}
    assert policy["definition"] == {"message-ttl": Settings.model_fields["dead_retention"].default * 1000}


def test_the_consumer_timeout_is_the_one_that_carom_is_told() -> None:
    settings = named("RabbitmqCluster")["spec"]["rabbitmq"]["additionalConfig"]
    in_ms = int(re.search(r"^consumer_timeout = (\d+)$", settings, re.MULTILINE)[1])  # type: ignore[index]
    (values,) = load(K8S / "rabbitmq/carom-values.yaml")
    assert in_ms == values["config"]["consumerTimeout"] * 1000
    assert in_ms == Settings.model_fields["consumer_timeout"].default * 1000


# Values


@pytest.mark.parametrize("path", ["rabbitmq/carom-values.yaml", "kind/dev-values.yaml", "kind/e2e-values.yaml"])
def test_values_exist_in_the_chart(path: str) -> None:
    (given,) = load(K8S / path)
    assert chart.unknown(given) == []


def test_the_gitops_example_names_what_there_is() -> None:
    source = named("Application")["spec"]["source"]
    assert (ROOT / source["path"] / "Chart.yaml").exists()
    for file in source["helm"]["valueFiles"]:
        assert (ROOT / source["path"] / file).resolve().exists(), file
    assert chart.unknown(source["helm"]["valuesObject"]) == []


def test_each_user_of_the_chart_has_a_user_of_the_broker() -> None:
    (given,) = load(K8S / "rabbitmq/carom-values.yaml")
    users = given["broker"]["users"]
    assert {f"carom-{user}" for user in users} == set(rights.rights())
    assert {user["existingSecret"] for user in users.values()} == {f"carom-broker-{user}" for user in users}
    assert set(users) == set(chart.values()["broker"]["users"])


# Each service calls some of the scripts; none may call what its user may not, which no test need come by.
SCRIPTS_OF = {
    "carom-executor": ("claim", "settle", "lease", "permits", "tokens", "circuit", "control"),
    "carom-callback": ("callback_claim", "callback_settle", "event_claim", "event_settle", "lease", "control"),
    "carom-intake": (
        "queued",
        "act",
        "paid",
        "revive",
        "idempotency_claim",
        "idempotency_end",
        "duty",
        "rate",
        "control",
    ),
}


@pytest.mark.parametrize("user", SCRIPTS_OF)
def test_a_user_of_the_store_may_call_what_its_scripts_call(user: str) -> None:
    line = next(line for line in acl.FILE.read_text().splitlines() if line.startswith(f"user {user} "))
    allowed = set(re.findall(r"\+([a-z]+)", line))
    folder = ROOT / "services/common/src/carom_common/adapters/store/scripts"
    called = {
        command.lower()
        for name in ("record", *SCRIPTS_OF[user])
        for command in re.findall(r"redis\.call\('([A-Z]+)'", (folder / f"{name}.lua").read_text())
    }
    assert called - allowed == set()
