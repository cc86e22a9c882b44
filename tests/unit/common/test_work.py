"""Slots, turns, holds and copies, with deliveries that note what becomes of them."""

import asyncio
from typing import Any

import pytest
from tests.support.waiting import eventually

from carom_common import workloop
from carom_common.adapters.store.transitions import Renewal
from carom_common.contracts.job import Job
from carom_common.contracts.message import ExecuteMessage, Undecodable
from carom_common.domain.clock import now_ms
from carom_common.work import Work
from carom_common.workloop import WorkLoop

WEIGHTS = {"high": 8, "normal": 3, "low": 1}
JOB = Job(target_url="http://t.example/", callback_url=None)


class Delivery:
    """What the loop needs of a delivery."""

    def __init__(self, message_id: str, queue: str = "normal", eta: int = 0) -> None:
        self.message_id, self.queue, self.eta = message_id, queue, eta
        self.body = message_id.encode()
        self.alive = True
        self.acked = self.requeued = 0

    def ack(self) -> None:
        self.acked += 1

    def requeue(self) -> None:
        self.requeued += 1


class Steps:
    """Runs each message until `release` is set, or breaks on it."""

    def __init__(self) -> None:
        self.deliveries: dict[str, Delivery] = {}
        self.running: list[str] = []
        self.seen: list[str] = []
        self.hopped: list[str] = []
        self.parked: list[str] = []
        self.go = asyncio.Event()
        self.begun = asyncio.Event()

    def decode(self, body: bytes) -> ExecuteMessage:
        name = body.decode()
        if name.startswith("bad"):
            raise Undecodable("bad")
        return ExecuteMessage(1, "default", name, JOB, 0, eta=self.deliveries[name].eta)

    async def process(self, task: Work[ExecuteMessage]) -> None:
        name = task.message.job_id
        self.seen.append(name)
        self.running.append(name)
        self.begun.set()
        try:
            await self.go.wait()
            if name.startswith("broken"):
                raise RuntimeError("broken")
            task.ack()
        finally:
            self.running.remove(name)

    async def hop(self, task: Work[ExecuteMessage]) -> None:
        self.hopped.append(task.message.job_id)

    async def hold(self, task: Work[ExecuteMessage], reason: str, delay_ms: int | None) -> None:
        self.hopped.append(task.message.job_id)

    async def park(self, delivery: Any, reason: str) -> None:
        self.parked.append(delivery.message_id)

    async def renew(self, task: Work[ExecuteMessage]) -> Renewal:
        return Renewal.KEPT

    async def release(self, task: Work[ExecuteMessage]) -> None: ...


def loop_of(steps: Steps, concurrency: int = 2, held: int = 1) -> WorkLoop[ExecuteMessage]:
    return WorkLoop(steps, "me", WEIGHTS, concurrency, held, 60)


def deliver(loop: WorkLoop[ExecuteMessage], steps: Steps, *deliveries: Delivery) -> None:
    for delivery in deliveries:
        steps.deliveries[delivery.message_id] = delivery
        loop.on_delivery(delivery)  # type: ignore[arg-type]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_run_at_once_than_there_are_slots() -> None:
    steps = Steps()
    loop = loop_of(steps)
    deliveries = [Delivery(f"m{n}") for n in range(5)]
    deliver(loop, steps, *deliveries)
    await settle()
    assert steps.running == ["m0", "m1"]
    steps.go.set()
    await settle()
    assert [d.acked for d in deliveries] == [1] * 5


async def test_what_is_in_hand_is_told_by_where_it_is() -> None:
    steps = Steps()
    loop = loop_of(steps, concurrency=1)
    early = Delivery("early", eta=now_ms() + 500)
    deliver(loop, steps, *(Delivery(f"m{n}") for n in range(3)), Delivery("low", "low"), early)
    await settle()
    told = {place: [work.message.job_id for work in found] for place, found in loop.in_hand().items() if found}
    assert told == {"running": ["m0"], "held until due": ["early"], "buffered": ["m1", "m2", "low"]}
    await loop.drain(0.01)
    assert not any(found for place, found in loop.in_hand().items() if place != "running")


async def test_what_waits_is_taken_in_fair_turns() -> None:
    steps = Steps()
    loop = loop_of(steps, concurrency=1)
    deliver(loop, steps, Delivery("first"))
    deliver(loop, steps, *(Delivery(f"{queue}{n}", queue) for queue in ("low", "normal", "high") for n in range(12)))
    steps.go.set()
    await asyncio.sleep(0.05)
    turns = steps.seen[1:13]
    assert {queue: sum(name.startswith(queue) for name in turns) for queue in WEIGHTS} == WEIGHTS


async def test_an_early_message_is_held_and_not_run_before_its_time() -> None:
    steps = Steps()
    loop = loop_of(steps)
    eta = now_ms() + 60
    deliver(loop, steps, Delivery("early", eta=eta))
    await asyncio.sleep(0.03)
    assert steps.seen == []
    await steps.begun.wait()
    assert now_ms() >= eta
    steps.go.set()


async def test_what_is_too_early_or_finds_no_place_hops() -> None:
    steps = Steps()
    loop = loop_of(steps, held=1)
    soon, later = now_ms() + 500, now_ms() + 60_000
    deliver(loop, steps, Delivery("held", eta=soon), Delivery("full", eta=soon), Delivery("far", eta=later))
    await settle()
    assert steps.hopped == ["full", "far"]


async def test_unreadable_messages_are_parked() -> None:
    steps = Steps()
    deliver(loop_of(steps), steps, Delivery("bad"))
    await settle()
    assert steps.parked == ["bad"]


async def test_a_redelivery_attaches_to_what_runs_and_both_copies_are_acked() -> None:
    steps = Steps()
    loop = loop_of(steps)
    first, copy, again = Delivery("same"), Delivery("same"), Delivery("same")
    deliver(loop, steps, first, copy)
    first.alive = copy.alive = False
    deliver(loop, steps, again)
    await settle()
    steps.go.set()
    await settle()
    assert steps.seen == ["same"]
    assert again.acked == 1


async def test_what_comes_while_the_message_is_put_back_is_dealt_with_after_that() -> None:
    """It may be the copy itself, whose confirm is late: acked along with the first, the message would be lost."""
    first, copy = Delivery("same"), Delivery("same")

    class PutsBack(Steps):
        async def process(self, task: Work[ExecuteMessage]) -> None:
            if first.acked:
                await super().process(task)
                return
            task.puts_back()
            deliver(loop, self, copy)
            task.ack_replaced()

    steps = PutsBack()
    loop = loop_of(steps)
    deliver(loop, steps, first)
    await settle()
    assert (first.acked, copy.acked) == (1, 0)
    assert steps.seen == ["same"], "the copy runs"
    steps.go.set()
    await settle()
    assert (first.acked, copy.acked) == (1, 1)


async def test_a_defect_gives_the_message_back_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloop, "FAILED_PAUSE_SECONDS", 0.01)
    steps = Steps()
    loop = loop_of(steps)
    broken, fine = Delivery("broken"), Delivery("fine")
    deliver(loop, steps, broken, fine)
    steps.go.set()
    await eventually(lambda: broken.requeued, "the broken one was not given back")
    assert (broken.acked, broken.requeued) == (0, 1)
    assert (fine.acked, fine.requeued) == (1, 0)


async def test_draining_takes_nothing_more_and_waits_for_what_runs() -> None:
    steps = Steps()
    loop = loop_of(steps)
    running, late = Delivery("running"), Delivery("late")
    deliver(loop, steps, running)
    asyncio.get_running_loop().call_later(0.02, steps.go.set)
    assert await loop.drain(5) == 0
    deliver(loop, steps, late)
    await settle()
    assert running.acked == 1
    assert steps.seen == ["running"]
