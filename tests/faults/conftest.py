"""Servers and stacks for the fault tests, and the table at the end: what each scenario cost."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import pytest
from tests.support.load import Load, wait_for
from tests.support.witness import LoopThread, Witness

from devstack.errors import DevstackError
from devstack.paths import ROOT
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


class Scenario:
    """One row of the table. Repeats are counted when it is printed, so that late ones count too."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.load: Load | None = None
        self.recovery = 0.0
        self.stale = 0
        self.note = ""
        self._broken_at = 0.0

    def broken(self) -> None:
        """The fault begins now; recovery is counted from here."""
        self._broken_at = time.monotonic()

    def recovered(self) -> None:
        self.recovery = time.monotonic() - self._broken_at

    def row(self) -> list[str]:
        if self.load is None:
            return [self.name, *"-------", f"{self.recovery:.1f}", self.note]
        verdict = self.load.verdict(self.stale)
        return [self.name, *map(str, verdict), f"{self.recovery:.1f}", self.note]


HEAD = ["scenario", "accepted", "lost", "wrong", "missing", "calls+", "callbacks+", "stale", "recovery s", "note"]
_scenarios = pytest.StashKey[list[Scenario]]()


@pytest.fixture(scope="session")
def scenarios(pytestconfig: pytest.Config) -> list[Scenario]:
    return pytestconfig.stash.setdefault(_scenarios, [])


@pytest.fixture
def scenario(request: pytest.FixtureRequest, scenarios: list[Scenario]) -> Scenario:
    made = Scenario(request.node.name.removeprefix("test_"))
    scenarios.append(made)
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    made = config.stash.get(_scenarios, [])
    if not made:
        return
    rows = [HEAD, *(scenario.row() for scenario in made)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    terminalreporter.section("faults: what became of the jobs answered with 202")
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells[:-1], widths[1:-1], strict=True))
        terminalreporter.write_line("  ".join([name.ljust(widths[0]), *numbers, cells[-1]]).rstrip())
    terminalreporter.write_line("calls+ and callbacks+: repeats of one attempt's call, and of a callback taken before")


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


def assert_all_kept(load: Load) -> None:
    """The promise: every job answered with 202 was called and called back with what happened."""
    unfinished, wrong = load.unfinished(), load.wrong()
    assert not unfinished, f"{len(unfinished)} of {len(load.accepted)} jobs were not called back: {unfinished[:3]}"
    assert not wrong, f"{len(wrong)} jobs were called back wrongly: {wrong[:3]}"
    assert all(load.witness.called(job_id) for job_id in load.accepted)


def assert_no_work_left(servers: Servers) -> None:
    assert wait_for(lambda: not servers.work_left(), 30, 0.5), f"queues are not empty: {servers.work_left()}"
