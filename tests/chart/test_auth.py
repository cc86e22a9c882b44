"""API keys in the chart: the first one, a Secret of one's own, where they are mounted, and what NOTES say."""

import base64
from datetime import UTC, datetime

import pytest
from tests.support import helm

from carom_intake.domain.keys import ALL_SCOPES, Key, parse_keys

OWN = {"auth": {"existingSecret": "ours"}}
OFF = {"auth": {"enabled": False}}


def mounted(manifests: helm.Manifests) -> list[str]:
    """Secrets that components mount, as `component/secret`."""
    pods = {component: manifests.pod(component) for component in helm.COMPONENTS}
    return [
        f"{component}/{volume['secret']['secretName']}"
        for component, pod in pods.items()
        for volume in pod.get("volumes", [])
        if "secret" in volume
    ]


def test_the_first_key_may_do_everything() -> None:
    data = helm.render(helm.MINIMAL).get("Secret", "carom-keys")["data"]
    token, text = (base64.b64decode(data[name]) for name in ("admin-key", "keys.json"))
    found = parse_keys(text).verify([f"Bearer {token.decode()}"], datetime.now(UTC))
    assert isinstance(found, Key)
    assert (found.id, found.tenant, found.granted) == ("admin", "default", ALL_SCOPES)
    assert len(token) == len("carom_admin_") + 48
    assert token.rpartition(b"_")[2] not in text


def test_each_release_has_a_key_of_its_own() -> None:
    first, second = (helm.render(helm.MINIMAL).get("Secret", "carom-keys")["data"]["admin-key"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(("values", "secret"), [({}, "carom-keys"), (OWN, "ours")], ids=["made", "own"])
def test_intake_alone_has_the_keys_as_a_directory(values: helm.Values, secret: str) -> None:
    manifests = helm.render(helm.merged(helm.MINIMAL, values))
    assert mounted(manifests) == [f"intake/{secret}"]
    assert ("carom-keys" in manifests.names("Secret")) == (secret == "carom-keys")
    (mount,) = manifests.container("intake")["volumeMounts"]
    # A subPath would keep what it was at the start.
    assert mount == {"name": "keys", "mountPath": "/etc/carom/keys", "readOnly": True}
    (volume,) = manifests.pod("intake")["volumes"]
    assert volume["secret"]["items"] == [{"key": "keys.json", "path": "keys.json"}], "the token stays out of the pod"
    assert manifests.settings("intake")["CAROM_KEYS_FILE"] == "/etc/carom/keys/keys.json"
    assert manifests.settings("intake")["CAROM_AUTH"] == "keys"


def test_volumes_of_ones_own_go_beside_them() -> None:
    more = {
        "defaults": {
            "extraVolumes": [{"name": "more", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        }
    }
    manifests = helm.render(helm.merged(helm.MINIMAL, more))
    assert [volume["name"] for volume in manifests.pod("intake")["volumes"]] == ["more", "keys"]
    assert [mount["name"] for mount in manifests.container("intake")["volumeMounts"]] == ["more", "keys"]
    (init,) = manifests.pod("intake")["initContainers"]
    assert [mount["name"] for mount in init["volumeMounts"]] == ["more"]
    assert [volume["name"] for volume in manifests.pod("executor")["volumes"]] == ["more"]


def test_without_keys_nothing_of_them_is_there() -> None:
    manifests = helm.render(helm.merged(helm.MINIMAL, OFF))
    assert mounted(manifests) == []
    assert "carom-keys" not in manifests.names("Secret")
    assert manifests.settings("intake")["CAROM_AUTH"] == "off"
    assert "CAROM_KEYS_FILE" not in manifests.settings("intake")


@pytest.mark.parametrize(
    ("values", "secret"), [({}, "carom-keys"), (OWN, "ours"), (OFF, None)], ids=["made", "own", "off"]
)
def test_helm_test_uses_the_admin_key(values: helm.Values, secret: str | None) -> None:
    (container,) = helm.render(helm.merged(helm.MINIMAL, values)).get("Pod", "carom-test")["spec"]["containers"]
    given = {entry["name"]: entry.get("valueFrom") for entry in container["env"]}
    wanted = {"secretKeyRef": {"name": secret, "key": "admin-key", "optional": True}}
    assert given.get("CAROM_TEST_KEY") == (wanted if secret else None)
    assert ("CAROM_TEST_KEY" in given) == bool(secret)


def notes(values: helm.Values) -> str:
    flags = ("--namespace", "ns", "--dry-run=client")
    text = helm.helm("install", "carom", str(helm.CHART), *flags, values=[helm.merged(helm.MINIMAL, values)])
    return text.partition("NOTES:")[2]


@pytest.mark.parametrize(("values", "secret"), [({}, "carom-keys"), (OWN, "ours")], ids=["made", "own"])
def test_notes_say_how_to_call(values: helm.Values, secret: str) -> None:
    text = notes(values)
    assert f"get secret {secret} --output jsonpath='{{.data.admin-key}}' | base64 --decode" in text
    assert text.count('-H "Authorization: Bearer $KEY"') == 2
    assert "NO KEY" not in text


def test_notes_are_loud_without_keys() -> None:
    text = notes(OFF)
    assert "CALLERS NEED NO KEY" in text
    assert "Authorization" not in text
    assert "more than the cluster" not in text
    opened = {"ingress": {"enabled": True, "hosts": ["a"]}, "networkPolicy": {"ingressController": {"cidrs": ["::/0"]}}}
    assert "this release opens it to more than the cluster" in notes(helm.merged(OFF, opened))
