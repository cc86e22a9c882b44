"""What may be called, as the chart tells the services: rules, a proxy, certificates for single hosts."""

import json
from typing import Any

import pytest
from tests.support import helm

CALLERS = ("executor", "callback")
callers = pytest.mark.parametrize("component", CALLERS)


def rendered(**egress: Any) -> helm.Manifests:
    return helm.render(helm.merged(helm.MINIMAL, {"egress": egress}))


def test_rules_and_ports_are_known_to_all_three() -> None:
    rules = {"*": {"targets": ["*.example.com"], "headers": {"block": ["Cookie"]}}, "shop": {"callbacks": []}}
    manifests = rendered(rules=rules, schemes=["https"], ports=["443", "8000-8999"], blockedPorts=["default", "8081"])
    for component in helm.COMPONENTS:
        settings = manifests.settings(component)
        assert json.loads(settings["CAROM_EGRESS_RULES"]) == rules
        assert settings["CAROM_EGRESS_SCHEMES"] == "https"
        assert settings["CAROM_EGRESS_PORTS"] == "443,8000-8999"
        assert settings["CAROM_EGRESS_BLOCKED_PORTS"] == "default,8081"


def test_a_proxy_is_for_those_who_call_out() -> None:
    manifests = rendered(proxy={"url": "http://proxy:3128"})
    assert "CAROM_EGRESS_PROXY" not in manifests.settings("intake")
    for component in CALLERS:
        assert manifests.settings(component)["CAROM_EGRESS_PROXY"] == "http://proxy:3128"


@callers
def test_the_url_of_a_proxy_with_a_password_comes_from_a_secret(component: str) -> None:
    manifests = rendered(proxy={"existingSecret": "proxy", "secretKey": "there"})
    assert "CAROM_EGRESS_PROXY" not in manifests.settings(component)
    given = {entry["name"]: entry.get("valueFrom") for entry in manifests.container(component)["env"]}
    assert given["CAROM_EGRESS_PROXY"] == {"secretKeyRef": {"name": "proxy", "key": "there"}}


@callers
def test_certificates_are_mounted_where_the_setting_says(component: str) -> None:
    tls = {
        "api.partner.example": {"caSecret": "partner", "clientSecret": "us"},
        "*.internal.example": {"caSecret": "internal-ca"},
        "other.example": {"clientSecret": "us"},
    }
    manifests = rendered(tls=tls)
    assert json.loads(manifests.settings(component)["CAROM_EGRESS_TLS"]) == {
        "api.partner.example": {
            "ca": "/etc/carom/egress/partner/ca.crt",
            "cert": "/etc/carom/egress/us/tls.crt",
            "key": "/etc/carom/egress/us/tls.key",
        },
        "*.internal.example": {"ca": "/etc/carom/egress/internal-ca/ca.crt"},
        "other.example": {"cert": "/etc/carom/egress/us/tls.crt", "key": "/etc/carom/egress/us/tls.key"},
    }
    volumes = {volume["name"]: volume for volume in manifests.pod(component)["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in manifests.container(component)["volumeMounts"]}
    for secret in ("partner", "us", "internal-ca"):
        mount = mounts[f"/etc/carom/egress/{secret}"]
        assert mount["readOnly"]
        assert volumes[mount["name"]]["secret"]["secretName"] == secret
    assert not any("egress" in volume["name"] for volume in manifests.pod("intake").get("volumes", []))
