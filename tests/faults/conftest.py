"""Servers and stacks for the fault tests, and the table at the end: what each scenario cost."""

from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from tests.support.scenario import Scenario, print_scenarios, scenarios_of
from tests.support.servers import Servers, start_servers
from tests.support.witness import LoopThread, Witness

from devstack.errors import DevstackError
from devstack.services import Service


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
