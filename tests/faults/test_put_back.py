"""What is put back comes back before the broker's confirm does: a slow broker, or a process that stood still."""

import time
from collections.abc import Iterator

import pytest
from tests.support.link import Link, Weather
from tests.support.servers import STACK_ENV, Servers, assert_no_work_left
from tests.support.witness import LoopThread, Witness

from devstack.probe import call
from devstack.process import wait_until
from devstack.services import Stack

pytestmark = pytest.mark.fault

FIRST_HOLD = 1.0
"""Seconds for which what is paused is held at first."""


@pytest.fixture
def stack(steady_servers: Servers, loop_thread: LoopThread) -> Iterator[Stack]:
    """The executor's publishes and their confirms take longer than a held message stays away; its deliveries do not."""
    broker = ("127.0.0.1", steady_servers.rabbitmq.port)
    with Link(loop_thread, broker, only=b"carom-executor publish") as link:
        link.weather = Weather(latency=1.5 * FIRST_HOLD)
        yield from _started(steady_servers, {"executor": {"RABBITMQ_URL": f"amqp://guest:guest@{link.address}/"}})


def _started(servers: Servers, env: dict[str, dict[str, str]]) -> Iterator[Stack]:
    log = servers.directory / "log-put-back"
    with Stack(servers.rabbitmq.url, servers.redis.url, log=log, env=STACK_ENV, service_env=env) as stack:
        yield stack


def test_what_was_put_back_comes_back_before_its_confirm(
    stack: Stack, steady_servers: Servers, witness: Witness
) -> None:
    target = witness.target("200:0", "arrival")
    host = target.split("/")[2]
    call(f"{stack.api}/api/pause", {"host": host})
    time.sleep(1.5)  # each process looks once a second
    body = {"targetUrl": target, "callbackUrl": witness.receiver(), "maxRetries": 0}
    jobs = [str(call(f"{stack.api}/api/jobs", body)["jobId"]) for _ in range(5)]
    time.sleep(4 * FIRST_HOLD)  # put back, back, and confirmed
    call(f"{stack.api}/api/resume", {"host": host})
    assert wait_until(lambda: all(witness.taken(job_id) for job_id in jobs), 60), "a job was acked with its copy"
    assert all(len(witness.called(job_id)) == 1 for job_id in jobs)
    assert_no_work_left(steady_servers)
