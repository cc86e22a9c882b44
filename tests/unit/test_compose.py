"""compose.yaml against the tree it builds from.

The schema of compose files is not at hand offline, so the keys that are used are checked by hand.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OURS = ("intake", "executor", "callback")
STORES = ("rabbitmq", "redis")
SERVICE_KEYS = {
    "image", "build", "command", "hostname", "restart", "read_only", "cap_drop", "security_opt", "stop_grace_period",
    "depends_on", "environment", "healthcheck", "volumes", "ports",
}  # fmt: skip
HEALTHCHECK_KEYS = {"test", "interval", "timeout", "retries", "start_period"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return document


def known_variables() -> set[str]:
    """From the reference, which another test compares with the settings; from the settings themselves without it."""
    reference = ROOT / "docs/reference/config.md"
    if reference.exists():
        return set(re.findall(r"`(CAROM_[A-Z_]+)`", reference.read_text()))
    sources = (ROOT / "services").glob("*/src/carom_*/settings.py")
    fields = (re.findall(r"^    (\w+): .*=", source.read_text(), re.MULTILINE) for source in sources)
    return {f"CAROM_{field.upper()}" for names in fields for field in names}


def test_structure(compose: dict[str, Any]) -> None:
    assert {key for key in compose if not key.startswith("x-")} == {"name", "services", "volumes"}
    assert set(compose["services"]) == {*OURS, *STORES}
    for name, service in compose["services"].items():
        assert set(service) <= SERVICE_KEYS, name
        assert set(service["healthcheck"]) == HEALTHCHECK_KEYS, name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name
        for other, condition in service.get("depends_on", {}).items():
            assert other in compose["services"]
            assert condition == {"condition": "service_healthy"}


def test_volumes_are_declared_and_used(compose: dict[str, Any]) -> None:
    used = {volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", [])}
    assert used == set(compose["volumes"])


@pytest.mark.parametrize("name", OURS)
def test_images_are_built_from_the_tree(compose: dict[str, Any], name: str) -> None:
    build = compose["services"][name]["build"]
    context = ROOT / build["context"]
    dockerfile = context / build["dockerfile"]
    assert build["args"] == {"SERVICE": name}
    arguments = set(re.findall(r"^ARG (\w+)", dockerfile.read_text(), re.MULTILINE))
    assert set(build["args"]) <= arguments
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.read_text(), re.MULTILINE):
        for path in source.replace("${SERVICE}", name).split():
            assert (context / path).exists(), path


@pytest.mark.parametrize("name", OURS)
def test_services_are_locked_down_and_wait_for_their_stores(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["depends_on"]) == set(STORES)
    environment = service["environment"]
    assert int(service["stop_grace_period"].removesuffix("s")) > int(environment["CAROM_SHUTDOWN_TIMEOUT"])
    assert f":{environment['CAROM_ADMIN_PORT']}/readyz" in service["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", OURS)
def test_variables_exist(compose: dict[str, Any], name: str) -> None:
    given = {variable for variable in compose["services"][name]["environment"] if variable.startswith("CAROM_")}
    assert given - known_variables() == set()


def test_only_the_api_is_published(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {"intake": ["127.0.0.1:${CAROM_PORT:-3000}:3000"]}
    assert compose["services"]["intake"]["environment"]["CAROM_PORT"] == "3000"


def test_credentials_of_the_broker_match_the_url(compose: dict[str, Any]) -> None:
    broker = compose["services"]["rabbitmq"]["environment"]
    user, password = broker["RABBITMQ_DEFAULT_USER"], broker["RABBITMQ_DEFAULT_PASS"]
    for name in OURS:
        url = compose["services"][name]["environment"]["RABBITMQ_URL"]
        assert url == f"amqp://{user}:{password}@rabbitmq:5672/"
