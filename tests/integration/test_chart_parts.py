"""What the chart carries, on real servers: the script of `helm test`, and the configuration of dependencies.dev."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.integration.conftest import ENV
from tests.support import helm

from carom_common.adapters.amqp.declare import declare_topology
from carom_common.adapters.amqp.errors import BrokerError
from devstack.ports import free_port
from devstack.servers import RabbitMQ, Redis
from devstack.services import Stack

pytestmark = pytest.mark.stack

SCRIPT = helm.CHART / "files/submit_job.py"


def submit_job(
    api: str, *, seconds: float = 30, own: str | None = None, key: str = ""
) -> subprocess.CompletedProcess[str]:
    port = free_port()
    environment = os.environ | {
        "CAROM_TEST_API": api,
        "CAROM_TEST_HOST": "carom.test",
        "CAROM_TEST_KEY": key,
        "CAROM_TEST_SELF": own or f"http://127.0.0.1:{port}",
        "CAROM_TEST_PORT": str(port),
        "CAROM_TEST_TIMEOUT": str(seconds),
    }
    command = [sys.executable, str(SCRIPT)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)


def test_the_release_is_tested_by_a_job(stack: Stack) -> None:
    result = submit_job(stack.api)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1].endswith("was called back as completed")


def test_a_release_that_does_not_answer() -> None:
    result = submit_job(f"http://127.0.0.1:{free_port()}", seconds=1)
    assert result.returncode == 1
    assert "did not accept the job" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_release_whose_pods_cannot_reach_the_test(stack: Stack) -> None:
    result = submit_job(stack.api, seconds=3, own=f"http://127.0.0.1:{free_port()}")
    assert result.returncode == 1
    assert "its target was not called" in result.stderr


class Dev(NamedTuple):
    """Servers configured as dependencies.dev configures its pods, on other addresses."""

    rabbitmq: RabbitMQ
    redis: Redis
    broker: dict[str, str]
    store: dict[str, str]

    def amqp(self, key: str) -> str:
        return self.broker[key].replace("carom-rabbitmq.ns.svc:5672", f"127.0.0.1:{self.rabbitmq.port}")

    @property
    def redis_url(self) -> str:
        return self.store["url"].replace("carom-redis.ns.svc:6379", f"127.0.0.1:{self.redis.port}")


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    manifests = helm.render(helm.DEV)
    broker, store = (manifests.get("Secret", f"carom-{name}")["stringData"] for name in ("rabbitmq", "redis"))
    directory = tmp_path_factory.mktemp("dev")
    definitions = directory / "definitions.json"
    definitions.write_text(broker["definitions.json"])
    text = manifests.get("ConfigMap", "carom-rabbitmq")["data"]["90-carom.conf"]
    lines = [line.split(" = ") for line in text.splitlines() if not line.startswith("#")]
    conf: dict[str, str | int] = {
        name: value.replace("/etc/carom/definitions.json", str(definitions)) for name, value in lines
    }
    directives = dict(line.split(" ", 1) for line in store["redis.conf"].splitlines())
    del directives["dir"]
    # Taken after the start: devstack asks a server without credentials whether it is there.
    password = directives.pop("requirepass")
    with (
        RabbitMQ(directory / "rabbitmq", settings=conf) as rabbitmq,
        Redis(directory / "redis", settings=directives) as redis,
    ):
        command = ["redis-cli", "-e", "-p", str(redis.port), "config", "set", "requirepass", password]
        subprocess.run(command, check=True, capture_output=True, timeout=10)
        yield Dev(rabbitmq, redis, broker, store)


async def test_the_dev_broker_gives_each_user_its_rights(dev: Dev) -> None:
    with pytest.raises(BrokerError):
        await declare_topology(dev.amqp("url"))
    await declare_topology(dev.amqp("topology-url"))
    assert "guest" not in dev.rabbitmq.ctl("list_users", "--quiet")


async def test_a_job_goes_through_the_dev_dependencies(dev: Dev, tmp_path: Path) -> None:
    """The services as the chart runs them: they declare nothing."""
    await declare_topology(dev.amqp("topology-url"))
    environment = ENV | {"CAROM_DECLARE_TOPOLOGY": "false"}
    with Stack(dev.amqp("url"), dev.redis_url, log=tmp_path, env=environment) as stack:
        result = submit_job(stack.api)
        assert result.returncode == 0, result.stdout + result.stderr


async def test_a_new_secret_goes_with_an_old_volume(dev: Dev) -> None:
    """A claim outlives the release and its Secret: passwords are read anew at every start."""
    definitions = dev.rabbitmq.directory.parent / "definitions.json"
    old = dev.broker["topology-password"]
    try:
        definitions.write_text(definitions.read_text().replace(old, "another"))
        dev.rabbitmq.stop()
        dev.rabbitmq.start()
        await declare_topology(dev.amqp("topology-url").replace(old, "another"))
        with pytest.raises(BrokerError):
            await declare_topology(dev.amqp("topology-url"))
    finally:
        definitions.write_text(dev.broker["definitions.json"])
        dev.rabbitmq.stop()
        dev.rabbitmq.start()


def test_the_script_is_what_the_chart_mounts() -> None:
    data = helm.render(helm.DEV).get("ConfigMap", "carom-test")["data"]
    assert data["submit_job.py"] == SCRIPT.read_text()
