"""kill -9 of each service between each two of its steps, under load: nothing is lost, nothing settled is repeated."""

import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.crashing import POINTS
from tests.support.load import Load
from tests.support.scenario import Scenario, assert_all_kept
from tests.support.servers import Servers, assert_no_work_left
from tests.support.witness import LoopThread, Witness

from devstack.process import wait_until
from devstack.services import Stack

pytestmark = pytest.mark.fault

JOBS = 300
NTH = 100
RARER = {("executor", "after-dead-letter"): 10, ("callback", "after-publish"): 10} | {
    (kind, "before-ack"): 20 for kind in ("executor", "callback")
}
"""Points that only some of the jobs pass, or many at once."""


@pytest.fixture(scope="module")
def stack(steady_servers: Servers) -> Iterator[Stack]:
    with steady_servers.stack("kills") as started:
        yield started


@pytest.mark.parametrize(
    ("kind", "point"),
    [pytest.param(kind, point, id=f"{kind} {point}") for kind, points in POINTS.items() for point in points],
)
def test_kill(
    kind: str,
    point: str,
    stack: Stack,
    witness: Witness,
    loop_thread: LoopThread,
    scenario: Scenario,
    tmp_path: Path,
) -> None:
    service = next(iter(stack.of(kind)))
    normal, trace = service.command, tmp_path / "trace"
    nth = RARER.get((kind, point), NTH)
    service.terminate()
    service.command = [sys.executable, "-m", "tests.support.crashing", kind, point, str(nth), str(trace)]
    service.start()
    scenario.load = load = Load(stack.api, witness, loop_thread)
    submitting = load.burst(JOBS)

    assert wait_until(lambda: not service.alive, 60), f"{kind} did not pass {point} {nth} times"
    assert service.exit_code == -signal.SIGKILL
    scenario.broken()
    service.command = normal
    service.start()
    submitting.result(60)
    load.await_callbacks(60)
    scenario.recovered()

    assert_all_kept(load)
    stale = load.stale(load.settled_records())
    scenario.stale = len(stale)
    assert not stale
    assert_settled_not_repeated(trace, witness)


def assert_settled_not_repeated(trace: Path, witness: Witness) -> None:
    """What the killed process had settled was done exactly once."""
    for line in trace.read_text().splitlines():
        what, job_id, attempt, status = line.split()
        if what == "attempt":
            calls = Counter(call.attempt for call in witness.called(job_id))
            assert calls[int(attempt)] == 1, f"attempt {attempt} of {job_id} settled as {status} and was repeated"
        elif status == "delivered":
            assert len(witness.taken(job_id)) == 1, f"the callback of {job_id} was delivered and repeated"


def test_nothing_is_left(steady_servers: Servers, scenarios: list[Scenario]) -> None:
    """No delivery is stuck, and nothing that was settled comes again when the last postponed copy has arrived."""
    assert_no_work_left(steady_servers)
    loads = [scenario.load for scenario in scenarios if scenario.load]
    for load in loads:
        assert_all_kept(load)
    exhausted = sum(kind.name == "exhausted" for load in loads for kind, _ in load.accepted.values())
    letters = steady_servers.depths().get("carom.dead.execute", 0)
    scenarios[-1].note = f"{letters} dead letters of {exhausted} exhausted jobs"
    assert letters >= exhausted
