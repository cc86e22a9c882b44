"""One stage at a time, for as long as scenarios want the same; and the lines of verdict at the end."""

from collections.abc import Callable, Iterator

import pytest
from tests.chaos.running import run
from tests.chaos.scenario import Scenario
from tests.chaos.stages import Stages
from tests.chaos.verdict import Verdict

_verdicts = pytest.StashKey[list[Verdict]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-seed", type=int, default=1, help="what all random choices of load and faults come from")


@pytest.fixture(scope="session")
def check(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Scenario], None]]:
    """Run the short version of a scenario."""
    seed = int(pytestconfig.getoption("--chaos-seed"))
    verdicts = pytestconfig.stash.setdefault(_verdicts, [])
    with Stages(lambda: tmp_path_factory.mktemp("chaos")) as stages:

        def judge(scenario: Scenario) -> Verdict:
            verdict = run(scenario, stages.take(scenario.stage), seed, scenario.short)
            verdicts.append(verdict)
            return verdict

        def check(scenario: Scenario) -> None:
            if scenario.obstacle:
                pytest.skip(scenario.obstacle)
            verdict = judge(scenario)
            if verdict.problems and verdict.kept:  # every promise was kept, but late: a neighbour may be why, once
                verdict = judge(scenario)
            assert not verdict.problems, verdict.line

        yield check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if verdicts := config.stash.get(_verdicts, []):
        terminalreporter.section(f"chaos: seed {config.getoption('--chaos-seed')}")
        for verdict in verdicts:
            terminalreporter.write_line(verdict.line)
            if not verdict.lost_nothing:
                terminalreporter.write_line(f"final: {verdict.scenario.title} lost something")  # see scripts/lanes
