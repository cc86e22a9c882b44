"""Background duties run in one process at a time."""

import asyncio
import uuid

import pytest
from tests.integration.conftest import Servers
from tests.support.waiting import eventually

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.duties import DutyLease
from carom_intake import duties
from carom_intake.duties import lead

pytestmark = pytest.mark.stack


async def test_one_leads_and_another_follows_when_it_ends(servers: Servers) -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    ran: list[str] = []
    at_once = 0

    async def work(who: str) -> None:
        nonlocal at_once
        assert at_once == 0
        at_once += 1
        ran.append(who)
        try:
            await asyncio.sleep(0.05)
        finally:
            at_once -= 1

    async with asyncio.timeout(60):
        batchers = {who: Batcher(servers.redis.url) for who in ("a", "b", "c")}
        tasks = {
            who: asyncio.create_task(lead(batcher, name, who, lambda who=who: work(who), 0.01))  # type: ignore[misc]
            for who, batcher in batchers.items()
        }
        await eventually(lambda: len(ran) > 5, "a leader")
        first = ran[-1]
        assert set(ran) == {first}
        tasks.pop(first).cancel()
        await eventually(lambda: ran[-1] != first, "another leader")
        second = ran[-1]
        # A leader whose lease another has is one no more.
        await batchers[second].run("SET", f"carom:duty:{name}", "stranger", "PX", 6000)
        await asyncio.sleep(4)
        count = len(ran)
        await asyncio.sleep(1)
        assert len(ran) == count
        await eventually(lambda: len(ran) > count, "a leader again", 20)
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for batcher in batchers.values():
            await batcher.close()


@pytest.mark.parametrize("turns", range(6))
async def test_who_is_told_to_end_while_the_lease_is_lost_ends(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """So many turns of the loop after: a TaskGroup that fails loses a cancellation before Python 3.13."""
    name, loop, keep = f"test-{uuid.uuid4().hex[:8]}", asyncio.get_running_loop(), duties._keep

    def end_after(turns: int) -> None:
        if turns:
            loop.call_soon(end_after, turns - 1)
        else:
            leader.cancel()

    async def keep_until_lost(lease: DutyLease, taken_at: float) -> None:
        try:
            await keep(lease, taken_at)
        finally:
            end_after(turns)

    monkeypatch.setattr(duties, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(duties, "_keep", keep_until_lost)
    batcher = Batcher(servers.redis.url)
    leader = asyncio.create_task(lead(batcher, name, "a", lambda: asyncio.sleep(60), 1))
    try:

        async def led() -> bool:
            return bool(await batcher.run("SET", f"carom:duty:{name}", "stranger", "XX", "PX", 60_000))

        await eventually(led, "a leader")
        await asyncio.wait((leader,), timeout=5)
        assert leader.cancelled()
    finally:
        monkeypatch.undo()
        leader.cancel()
        await asyncio.wait((leader,))
        await batcher.close()


async def test_a_duty_that_fails_is_tried_again(servers: Servers) -> None:
    batcher = Batcher(servers.redis.url)
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError("a defect")

    task = asyncio.create_task(lead(batcher, f"test-{uuid.uuid4().hex[:8]}", "a", work, 0.01))
    await eventually(lambda: runs > 3, "a duty that goes on")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await batcher.close()
