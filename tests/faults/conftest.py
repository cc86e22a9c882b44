"""Servers and stacks for the fault tests, and the table at the end: what each scenario cost."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import pytest
from tests.support.scenario import Scenario, print_scenarios, scenarios_of
from tests.support.witness import LoopThread, Witness

from devstack.errors import DevstackError
from devstack.paths import ROOT
from devstack.process import wait_until
from devstack.servers import RabbitMQ, Redis
from devstack.services import Service, Stack

STACK_ENV = {
    "CAROM_CALLBACK_DELAYS": "0.2,0.2,0.2,1,1,1,1",
    "PYTHONPATH": str(ROOT),  # a service may be started through tests.support.crashing
}


class Servers(NamedTuple):
    rabbitmq: RabbitMQ
    redis: Redis
    directory: Path

    def stack(self, name: str, replicas: Mapping[str, int] | None = None) -> Stack:
        return Stack(
            self.rabbitmq.url, self.redis.url, log=self.directory / f"log-{name}", env=STACK_ENV, replicas=replicas
        )

    def depths(self) -> dict[str, int]:
        """Messages in every queue that has any, those out for delivery included."""
        lines = self.rabbitmq.ctl("list_queues", "--silent", "name", "messages").splitlines()
        counts = (line.split("\t") for line in lines if "\t" in line)
        return {name: int(count) for name, count in counts if count.isdigit() and int(count)}

    def work_left(self) -> dict[str, int]:
        """Messages that still have something before them: all but the dead letters."""
        return {name: count for name, count in self.depths().items() if not name.startswith("carom.dead.")}


@pytest.fixture(scope="session")
def scenarios(pytestconfig: pytest.Config) -> list[Scenario]:
    return scenarios_of(pytestconfig)


@pytest.fixture
def scenario(request: pytest.FixtureRequest, scenarios: list[Scenario]) -> Scenario:
    made = Scenario(request.node.name.removeprefix("test_"))
    scenarios.append(made)
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    print_scenarios(terminalreporter, config, "faults: what became of the jobs answered with 202")


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    with LoopThread() as thread:
        yield thread


@pytest.fixture(scope="session")
def witness(loop_thread: LoopThread) -> Iterator[Witness]:
    with Witness(loop_thread) as made:
        yield made


def start_servers(directory: Path) -> Iterator[Servers]:
    with RabbitMQ(directory / "rabbitmq") as rabbitmq, Redis(directory / "redis") as redis:
        yield Servers(rabbitmq, redis, directory)


@pytest.fixture(scope="session")
def steady_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """For the tests that leave the servers alone."""
    yield from start_servers(tmp_path_factory.mktemp("steady"))


def in_flight(service: Service) -> int:
    """Jobs that a replica is working on, from its own metrics."""
    with urlopen(f"{service.admin}/metrics", timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("carom_in_flight "):
                return int(float(line.split()[1]))
    raise DevstackError(f"{service.name} tells no carom_in_flight")


def assert_no_work_left(servers: Servers) -> None:
    assert wait_until(lambda: not servers.work_left(), 30, 0.5), f"queues are not empty: {servers.work_left()}"
