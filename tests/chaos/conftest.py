"""One stage at a time, for as long as scenarios want the same; and the lines of verdict at the end."""

from collections.abc import Callable, Iterator

import pytest
from tests.chaos.stage import Stage
from tests.chaos.stages import Stages
from tests.chaos.verdict import Verdict

_verdicts = pytest.StashKey[list[Verdict]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-seed", type=int, default=1, help="what all random choices of load and faults come from")


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--chaos-seed"))


@pytest.fixture(scope="session")
def stage_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[type[Stage]], Stage]]:
    with Stages(lambda: tmp_path_factory.mktemp("chaos")) as stages:
        yield stages.take


@pytest.fixture(scope="session")
def verdicts(pytestconfig: pytest.Config) -> list[Verdict]:
    return pytestconfig.stash.setdefault(_verdicts, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := [verdict.line for verdict in config.stash.get(_verdicts, [])]:
        terminalreporter.section(f"chaos: seed {config.getoption('--chaos-seed')}")
        for line in lines:
            terminalreporter.write_line(line)
