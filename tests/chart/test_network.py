"""Who may reach whom: NetworkPolicies, Ingress, HTTPRoute, and what the test of the release needs."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from tests.support import helm

from carom_common.domain.address_policy import AddressPolicy

METADATA = ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
PRIVATE = (
    "10.0.0.1", "10.244.1.7", "172.16.0.1", "172.31.255.254", "192.168.77.10", "100.64.0.1", "127.0.0.1", "0.0.0.0",
    "169.254.20.10", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1",
    "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001::1", "fc00::1", "fe80::1", "fec0::1", "ff02::1",
)  # fmt: skip
PUBLIC = ("1.1.1.1", "9.255.255.255", "11.0.0.0", "172.32.0.1", "192.169.0.1", "2606:4700::1111", "2a00:1450::1")
SPECIAL_BUT_HARMLESS = {"a documentation address", "a benchmarking address", "a discard address"}
"""Kinds that the services' own guard refuses too, behind which is nothing of the operator's."""

callers = pytest.mark.parametrize("component", ["executor", "callback"])


def rules(manifests: helm.Manifests, component: str, direction: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manifests.get("NetworkPolicy", f"carom-{component}")["spec"][direction]
    return found


def peers(rules: Iterable[dict[str, Any]], port: int, key: str) -> list[dict[str, Any]] | None:
    """Who is let through on a port; None: anybody."""
    found: list[dict[str, Any]] = []
    for rule in rules:
        if "ports" not in rule or port in {entry["port"] for entry in rule["ports"]}:
            if key not in rule:
                return None
            found += rule[key]
    return found


def reaches(manifests: helm.Manifests, component: str, address: str, port: int = 80) -> bool:
    """Whether the blocks of a component's policy let a packet to an address through."""
    target = ip_address(address)
    for peer in peers(rules(manifests, component, "egress"), port, "to") or []:
        block = peer.get("ipBlock")
        holes = block.get("except", []) if block else []
        if block and target in ip_network(block["cidr"]) and not any(target in ip_network(hole) for hole in holes):
            return True
    return False


def namespaces(found: list[dict[str, Any]] | None) -> set[str]:
    assert found is not None, "anybody is let in"
    selectors = [peer["namespaceSelector"]["matchLabels"] for peer in found if "namespaceSelector" in peer]
    return {labels["kubernetes.io/metadata.name"] for labels in selectors}


def components(found: list[dict[str, Any]] | None) -> set[str]:
    assert found is not None, "anybody is let in"
    local = [peer for peer in found if "podSelector" in peer and "namespaceSelector" not in peer]
    return {peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in local}


@pytest.fixture(scope="module")
def dev() -> helm.Manifests:
    return helm.rendered(helm.CHART / "ci/dev-values.yaml")


@pytest.mark.parametrize("path", helm.CI, ids=lambda path: path.stem)
def test_every_pod_has_a_policy_for_both_directions(path: Path) -> None:
    manifests = helm.rendered(path)
    for name, pod in helm.pod_templates(manifests).items():
        policies = [
            policy["spec"]
            for policy in manifests.all("NetworkPolicy")
            if policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        ]
        (policy,) = policies
        # The test's way out is open: what it is to test may be anywhere.
        assert policy["policyTypes"] == (["Ingress"] if name == "Pod/carom-test" else ["Ingress", "Egress"]), name


@pytest.mark.parametrize("path", helm.CI, ids=lambda path: path.stem)
def test_no_rule_lets_anybody_in(path: Path) -> None:
    """An empty list of peers means everybody, which is easily written by mistake."""
    for policy in helm.rendered(path).all("NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            assert rule.get("from"), policy["metadata"]["name"]
            assert {} not in rule["from"]
            assert rule["ports"]


def test_policies_can_be_left_out() -> None:
    assert helm.render(helm.merged(helm.DEV, {"networkPolicy": {"enabled": False}})).all("NetworkPolicy") == []


# The way out


@callers
def test_callers_reach_the_internet_and_nothing_private(dev: helm.Manifests, component: str) -> None:
    assert [address for address in PUBLIC if not reaches(dev, component, address)] == []
    assert [address for address in (*PRIVATE, *METADATA) if reaches(dev, component, address)] == []


@callers
def test_the_policies_are_as_strict_as_the_guard(dev: helm.Manifests, component: str) -> None:
    """Each edge of a blocked range, and its neighbours: what the guard refuses is not let through, or is harmless."""
    guard = AddressPolicy()
    edges = set()
    for policy in rules(dev, component, "egress"):
        for peer in policy.get("to", []):
            for hole in peer.get("ipBlock", {}).get("except", []):
                network = ip_network(hole)
                edges |= {network[0], network[-1]}
    for edge in edges:
        refusal = guard.refusal(str(edge))
        assert refusal is not None, f"{edge} is blocked for nothing"
    for address in (*PRIVATE, *METADATA, *(str(edge) for edge in edges)):
        refusal = guard.refusal(address)
        assert refusal
        assert not reaches(dev, component, address) or refusal.partition(" is ")[2] in SPECIAL_BUT_HARMLESS


def test_intake_reaches_dns_broker_and_store_only(dev: helm.Manifests) -> None:
    egress = rules(dev, "intake", "egress")
    assert [sorted({entry["port"] for entry in rule["ports"]}) for rule in egress] == [[53], [5672], [6379]]
    assert components(peers(egress, 5672, "to")) == {"rabbitmq"}
    assert components(peers(egress, 6379, "to")) == {"redis"}
    assert namespaces(peers(egress, 53, "to")) == {"kube-system"}


def test_intake_reaches_the_identity_provider_where_there_is_one() -> None:
    config = {"oidcIssuer": "https://id.example", "oidcAudience": "carom", "oidcJwksUrl": "https://id.example/keys"}
    provider = {"networkPolicy": {"identityProvider": {"to": [{"ipBlock": {"cidr": "192.0.2.7/32"}}], "ports": [8443]}}}
    manifests = helm.render(helm.merged(helm.MINIMAL, {"intake": {"config": config}}, provider))
    assert reaches(manifests, "intake", "192.0.2.7", 8443)
    assert not reaches(manifests, "intake", "192.0.2.8", 8443)
    assert not reaches(helm.render(helm.merged(helm.MINIMAL, provider)), "intake", "192.0.2.7", 8443)
    settings = manifests.settings("intake")
    assert settings["CAROM_OIDC_ISSUER"] == "https://id.example"
    assert settings["CAROM_OIDC_JWKS_URL"] == "https://id.example/keys"


@pytest.mark.parametrize("component", helm.COMPONENTS)
def test_the_collector_of_spans_is_reached_where_there_is_one(component: str) -> None:
    collector = {"networkPolicy": {"collector": {"to": [{"ipBlock": {"cidr": "10.9.8.7/32"}}], "ports": [4319]}}}
    there = {"tracing": {"endpoint": "http://collector.monitoring:4319"}}
    assert reaches(helm.render(helm.merged(helm.MINIMAL, collector, there)), component, "10.9.8.7", 4319)
    assert not reaches(helm.render(helm.merged(helm.MINIMAL, collector)), component, "10.9.8.7", 4319)


def test_dependencies_reach_nothing(dev: helm.Manifests) -> None:
    for name, port, clients in (
        ("rabbitmq", 5672, {"intake", "executor", "callback", "topology", "fsck"}),
        ("redis", 6379, {"intake", "executor", "callback", "fsck"}),
    ):
        assert rules(dev, name, "egress") == []
        assert components(peers(rules(dev, name, "ingress"), port, "from")) == clients
    assert namespaces(peers(rules(dev, "rabbitmq", "ingress"), 5672, "from")) == {"keda"}


@callers
def test_what_is_opened_is_opened_in_both_layers(component: str) -> None:
    manifests = helm.rendered(helm.CHART / "ci/netpol-open-values.yaml")
    for address in ("10.20.0.1", "192.0.2.7", "fd00:20::1", "10.30.0.7"):
        assert reaches(manifests, component, address)
    for address in ("10.21.0.1", "10.30.0.8", "fd00:21::1", *METADATA):
        assert not reaches(manifests, component, address)
    settings = manifests.settings(component)
    guard = AddressPolicy.parse(settings["CAROM_EGRESS_ALLOW"].split(","), settings["CAROM_EGRESS_DENY"].split(","))
    assert guard.host_rule("intranet.example.com") == "allow"
    assert guard.refusal("10.20.0.1") is None
    assert guard.refusal("203.0.113.66") is not None
    assert "proxy" in namespaces(peers(rules(manifests, component, "egress"), 3128, "to"))
    assert not reaches(manifests, "intake", "10.20.0.1")


def test_the_internet_can_be_closed() -> None:
    values = helm.merged(
        helm.DEV, {"networkPolicy": {"egress": {"internet": False}}, "egress": {"allow": ["10.1.0.0/16"]}}
    )
    manifests = helm.render(values)
    assert not reaches(manifests, "executor", "1.1.1.1")
    assert reaches(manifests, "executor", "10.1.2.3")


def test_broker_and_store_by_address() -> None:
    manifests = helm.rendered(helm.CHART / "ci/external-secrets-values.yaml")
    for component in (*helm.COMPONENTS, "topology", "fsck"):
        assert namespaces(peers(rules(manifests, component, "egress"), 5671, "to")) >= {"rabbitmq"}
    assert reaches(manifests, "intake", "192.0.2.10", 6380)
    assert not reaches(manifests, "intake", "192.0.2.11", 6380)


def test_fsck_reaches_broker_and_store_alone_and_nobody_reaches_it() -> None:
    manifests = helm.rendered(helm.CHART / "ci/external-secrets-values.yaml")
    assert rules(manifests, "fsck", "ingress") == []
    assert {port["port"] for rule in rules(manifests, "fsck", "egress") for port in rule["ports"]} == {53, 5671, 6380}
    assert reaches(manifests, "fsck", "192.0.2.10", 6380)
    assert not reaches(manifests, "fsck", "1.1.1.1", 443)


# The way in


def test_by_default_only_the_test_reaches_the_api(dev: helm.Manifests) -> None:
    (rule,) = rules(dev, "intake", "ingress")
    assert components(rule["from"]) == {"test"}
    assert namespaces(rule["from"]) == set()
    assert rule["ports"] == [{"protocol": "TCP", "port": 3000}]
    for component in ("executor", "callback"):
        assert rules(dev, component, "ingress") == []


def test_clients_and_controllers_are_let_in_by_namespace() -> None:
    manifests = helm.render(
        helm.merged(
            helm.DEV,
            {
                "networkPolicy": {
                    "ingressController": {"namespaces": ["ingress"], "cidrs": ["10.89.0.0/24"]},
                    "clients": {"namespaces": ["shop", "ingress"], "sameNamespace": True},
                },
            },
        )
    )
    found = peers(rules(manifests, "intake", "ingress"), 3000, "from")
    assert found is not None
    assert namespaces(found) == {"ingress", "shop"}
    assert {"podSelector": {}} in found
    assert {"ipBlock": {"cidr": "10.89.0.0/24"}} in found
    assert peers(rules(manifests, "intake", "ingress"), 8081, "from") == []


@pytest.mark.parametrize("component", helm.COMPONENTS)
def test_the_admin_port_is_for_monitoring(component: str) -> None:
    manifests = helm.rendered(helm.CHART / "ci/observability-values.yaml")
    found = peers(rules(manifests, component, "ingress"), 8081, "from")
    assert namespaces(found) == {"monitoring"}
    assert components(found) == set()


def test_ingress() -> None:
    manifests = helm.rendered(helm.CHART / "ci/ingress-tls-values.yaml")
    ingress = manifests.get("Ingress", "carom-intake")
    assert ingress["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "internal"}
    assert ingress["spec"]["ingressClassName"] == "traefik"
    assert ingress["spec"]["tls"] == [{"hosts": ["carom.test"], "secretName": "carom-tls"}]
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (rule["host"], path["path"], path["pathType"]) == ("carom.test", "/api", "Prefix")
    assert path["backend"]["service"] == {"name": "carom-intake", "port": {"name": "http"}}
    # The admin port has a Service of its own, so that no route can lead there by mistake.
    assert [port["name"] for port in manifests.get("Service", "carom-intake")["spec"]["ports"]] == ["http"]


def test_http_route() -> None:
    manifests = helm.rendered(helm.CHART / "ci/httproute-values.yaml")
    spec = manifests.get("HTTPRoute", "carom-intake")["spec"]
    assert spec["parentRefs"] == [{"name": "public", "namespace": "kube-system"}]
    assert spec["hostnames"] == ["carom.test"]
    (rule,) = spec["rules"]
    assert rule["backendRefs"] == [{"name": "carom-intake", "port": 3000}]
    assert namespaces(peers(rules(manifests, "intake", "ingress"), 3000, "from")) == {"kube-system"}


# helm test


@callers
def test_the_test_opens_one_name_and_one_pod(dev: helm.Manifests, component: str) -> None:
    host = "carom-test.ns.svc"
    assert dev.settings(component)["CAROM_EGRESS_ALLOW"] == host
    assert components(peers(rules(dev, component, "egress"), 8080, "to")) == {"test"}
    pod = dev.get("Pod", "carom-test")
    environment = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
    assert environment["CAROM_TEST_SELF"] == f"http://{host}:8080"
    assert environment["CAROM_TEST_API"] == "http://carom-intake:3000"
    service = dev.get("Service", "carom-test")["spec"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["ports"][0]["targetPort"] == 8080
    assert components(peers(rules(dev, "test", "ingress"), 8080, "from")) == {"executor", "callback"}


def test_the_test_goes_through_the_ingress() -> None:
    for file in ("ingress-tls", "httproute"):
        values = helm.CHART / f"ci/{file}-values.yaml"
        text = helm.helm(
            "template", "carom", str(helm.CHART), "--set", "test.url=http://traefik.kube-system",
            *(flag for api in helm.FOREIGN for flag in ("--api-versions", api)), values=[values],
        )  # fmt: skip
        pod = helm.Manifests(text).get("Pod", "carom-test")
        environment = {entry["name"]: entry.get("value") for entry in pod["spec"]["containers"][0]["env"]}
        assert environment["CAROM_TEST_API"] == "http://traefik.kube-system"
        assert environment["CAROM_TEST_HOST"] == "carom.test"


def test_without_the_test_nothing_is_open() -> None:
    manifests = helm.render(helm.merged(helm.DEV, {"test": {"enabled": False}}))
    assert manifests.all("Pod") == []
    assert [d for d in manifests.objects if d["metadata"]["name"] == "carom-test"] == []
    assert manifests.settings("executor")["CAROM_EGRESS_ALLOW"] == ""
    assert "test" not in components(peers(rules(manifests, "executor", "egress"), 8080, "to"))
    assert rules(manifests, "intake", "ingress") == []
