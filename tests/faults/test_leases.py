"""Who may finish an attempt when two replicas believe that it is theirs. Leases are the real ones: 10 s."""

from collections.abc import Iterator

import pytest
from tests.faults.conftest import in_flight
from tests.support.load import Kind, Load
from tests.support.scenario import Scenario
from tests.support.servers import Servers, assert_no_work_left
from tests.support.witness import LoopThread, Witness

from devstack.probe import call
from devstack.process import wait_until
from devstack.services import Service, Stack

pytestmark = pytest.mark.fault

LEASE = 10.0


@pytest.fixture(scope="module")
def stack(steady_servers: Servers) -> Iterator[Stack]:
    with steady_servers.stack("leases", {"executor": 2}) as started:
        yield started


@pytest.fixture
def pair(stack: Stack) -> Iterator[list[Service]]:
    """Both executors, running before the test and after it."""
    pair = stack.of("executor")
    yield pair
    for service in pair:
        service.resume()
        if not service.alive:
            service.start()


def submit(stack: Stack, target: str, receiver: str) -> str:
    body = {"targetUrl": target, "callbackUrl": receiver, "maxRetries": 0}
    return str(call(f"{stack.api}/api/jobs", body)["jobId"])


def on_one(stack: Stack, pair: list[Service], witness: Witness, plans: list[str]) -> tuple[Service, Service, list[str]]:
    """One job a plan, all begun by the first replica of the result; the second one does not run yet."""
    runner, other = pair
    other.terminate()
    jobs = [submit(stack, witness.target(plan, "arrival"), witness.receiver()) for plan in plans]
    assert wait_until(lambda: all(witness.called(job_id) for job_id in jobs), 10)
    return runner, other, jobs


def record(stack: Stack, job_id: str) -> tuple[str, int, str]:
    document = call(f"{stack.api}/api/jobs/{job_id}")
    return document["status"], len(document["attemptsLog"]), document["callback"]["status"]


def assert_one_outcome(stack: Stack, witness: Witness, job_id: str, status: str) -> None:
    assert wait_until(lambda: record(stack, job_id) == (status, 1, "delivered"), 5), record(stack, job_id)
    assert [callback.status for callback in witness.callbacks[job_id]] == [status]


def test_zombies(
    pair: list[Service], stack: Stack, steady_servers: Servers, witness: Witness, scenario: Scenario
) -> None:
    """A replica is frozen beyond its leases. What it says afterwards counts only where nobody took over."""
    plans = [
        "404:1000,200:0",  # done by the other replica before the zombie wakes
        "404:1000,200:3000",  # the other replica is in mid-call when the zombie wakes and says 404
        "404:16000,200:16000,200:0",  # both are in mid-call, and the one that took over is killed
    ]
    zombie, other, (done, busy, orphan) = on_one(stack, pair, witness, plans)
    scenario.broken()
    zombie.freeze()
    other.start()
    steady_servers.rabbitmq.ctl("close_all_connections", "fault test")
    assert wait_until(lambda: all(len(witness.called(job_id)) == 2 for job_id in (done, busy, orphan)), LEASE + 8)
    assert wait_until(lambda: len(witness.taken(done)) == 1, 5)
    zombie.resume()
    # The zombie reads both answers at once, then finds its connection gone and makes a new one.
    assert wait_until(lambda: len(witness.taken(busy)) == 1, 10)
    assert_one_outcome(stack, witness, done, "completed")
    assert_one_outcome(stack, witness, busy, "completed")

    zombie.wait_ready()
    assert len(witness.called(orphan)) == 2
    other.kill()
    # Its message comes to the zombie while that is still in its own call, whose lease is lost.
    assert wait_until(lambda: bool(witness.taken(orphan)), 2 * LEASE + 10), "the job of the killed replica was lost"
    scenario.recovered()
    assert_one_outcome(stack, witness, orphan, "completed")
    assert [len(witness.called(job_id)) for job_id in (done, busy, orphan)] == [2, 2, 3]


def test_killed_in_mid_call(pair: list[Service], stack: Stack, witness: Witness, scenario: Scenario) -> None:
    runner, other, (job_id,) = on_one(stack, pair, witness, ["200:3000"])
    scenario.broken()
    runner.kill()
    other.start()
    assert wait_until(lambda: len(witness.called(job_id)) == 2, LEASE + 5), "the other replica did not repeat the call"
    assert wait_until(lambda: bool(witness.taken(job_id)), 10)
    scenario.recovered()
    assert_one_outcome(stack, witness, job_id, "completed")


def test_connection_lost_in_mid_call(
    pair: list[Service],
    stack: Stack,
    steady_servers: Servers,
    witness: Witness,
    loop_thread: LoopThread,
    scenario: Scenario,
) -> None:
    """Calls go on without the broker; redeliveries to the same process attach, those to the other one wait."""
    scenario.load = load = Load(stack.api, witness, loop_thread, [Kind("very slow", "200:5000", 0, "completed", 1)])
    load.burst(40).result(10)
    assert wait_until(lambda: all(witness.called(job_id) for job_id in load.accepted), 10)
    scenario.broken()
    steady_servers.rabbitmq.ctl("close_all_connections", "fault test")
    assert all(service.alive for service in pair)
    load.await_callbacks(30)
    scenario.recovered()
    unfinished = load.unfinished()
    assert not unfinished, f"{len(unfinished)} of {len(load.accepted)} jobs were lost"
    assert load.repeated_calls() == 0
    assert not load.wrong()
    assert not load.stale(load.settled_records())


def test_nothing_is_left(steady_servers: Servers, stack: Stack) -> None:
    assert_no_work_left(steady_servers)
    assert all(in_flight(service) == 0 for service in stack.of("executor"))
