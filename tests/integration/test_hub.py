"""The one reader of a process and its listeners, against a real Redis."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from tests.support.waiting import WITHIN, eventually

from carom_common.adapters.store.events import event, stream_key
from carom_common.adapters.store.stream import StoreUnavailable, Streams
from carom_common.domain.happening import START, Happening, Position
from carom_intake.following import Following
from carom_intake.hub import MAX_QUEUED, Hub, HubFull, Subscription
from devstack.servers import Redis

Client = Any


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Redis]:
    with Redis(tmp_path_factory.mktemp("hub") / "redis") as server:
        yield server


@pytest.fixture
async def client(server: Redis) -> AsyncIterator[Client]:
    async with redis.asyncio.from_url(server.url) as client:
        yield client


@pytest.fixture
async def streams(server: Redis) -> Streams:
    return Streams(server.url)


@contextlib.asynccontextmanager
async def running(streams: Streams, limit: int = 1000) -> AsyncIterator[Hub]:
    hub = Hub(streams, limit)
    task = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def hub(streams: Streams) -> AsyncIterator[Hub]:
    async with running(streams) as hub:
        yield hub


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


async def tell(client: Client, tenant: str, what: str, job_id: str = "a", count: int = 1) -> None:
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(count):
            pipeline.execute_command(*event(tenant, job_id, what, 1, number, 1000))
        await pipeline.execute()


async def told(subscription: Subscription, count: int) -> list[Happening]:
    found: list[Happening] = []
    async with asyncio.timeout(WITHIN):
        while len(found) < count:
            await subscription.wait(WITHIN)
            found += subscription.take()
    return found


async def reads_under_way(client: Client) -> int:
    return sum(entry["cmd"] == "xread" and "b" in entry["flags"] for entry in await client.client_list())


async def test_two_hundred_listeners_cost_one_read(client: Client, hub: Hub, tenant: str) -> None:
    """Of one tenant or of several, of all jobs or of one; and none is left when the last has gone."""
    await eventually(lambda: _is(reads_under_way(client), 0), "no read")
    async with contextlib.AsyncExitStack() as held:
        one = [await held.enter_async_context(hub.subscribe(tenant, f"j-{n}")) for n in range(198)]
        everything = await held.enter_async_context(hub.subscribe(tenant))
        other = await held.enter_async_context(hub.subscribe(tenant + "-b"))
        await eventually(lambda: _is(reads_under_way(client), 1), "one read")
        for number in range(198):
            await tell(client, tenant, "queued", f"j-{number}")
        await tell(client, tenant + "-b", "held", "x")
        for number, subscription in enumerate(one):
            assert [happening.job_id for happening in await told(subscription, 1)] == [f"j-{number}"]
        assert len(await told(everything, 198)) == 198
        assert [happening.what for happening in await told(other, 1)] == ["held"]
        assert await reads_under_way(client) <= 1
    await eventually(lambda: _is(reads_under_way(client), 0), "no read any more")


async def _is(count: object, wanted: int) -> bool:
    return await count == wanted  # type: ignore[misc, no-any-return]


async def test_nothing_between_the_subscription_and_the_first_read_is_lost(
    client: Client, hub: Hub, tenant: str
) -> None:
    await tell(client, tenant, "queued", "before")
    async with hub.subscribe(tenant) as subscription:
        await tell(client, tenant, "queued", "after")  # no read can have begun yet, or just one
        assert [happening.job_id for happening in await told(subscription, 1)] == ["after"]


async def test_there_is_a_limit(streams: Streams, tenant: str) -> None:
    async with running(streams, 2) as hub:
        async with hub.subscribe(tenant), hub.subscribe(tenant, "a"):
            with pytest.raises(HubFull):
                await hub.subscribe(tenant).__aenter__()
        async with hub.subscribe(tenant) as subscription:
            hub.close()
            assert subscription.closed
            with pytest.raises(HubFull):
                await hub.subscribe(tenant).__aenter__()


async def test_a_slow_listener_reads_on_from_the_store(client: Client, streams: Streams, hub: Hub, tenant: str) -> None:
    """Its memory is bounded, and it is told everything in order, once."""
    async with hub.subscribe(tenant) as subscription:
        until = asyncio.get_running_loop().time() + 3600
        following = Following(streams, subscription, START, lambda _: True, until=until, resumed=False)
        count = 3 * MAX_QUEUED + 17
        await tell(client, tenant, "waiting", count=count)
        await eventually(lambda: subscription.behind, "more than one queue holds")
        found: list[Happening] = []
        async with asyncio.timeout(60), contextlib.aclosing(following.batches()) as batches:
            async for batch in batches:
                found += batch
                if len(found) == count:
                    await tell(client, tenant, "completed")
                if len(found) > count:
                    break
        assert [happening.attempt for happening in found] == [*range(count), 0]
        positions = [happening.position for happening in found]
        assert positions == sorted(set(positions))


async def test_a_resumed_listener_is_not_told_again_what_is_late(
    client: Client, streams: Streams, hub: Hub, tenant: str
) -> None:
    """What comes late or twice is seen from what was before the place to resume at."""
    await client.execute_command(*event(tenant, "a", "queued", 1, 0, 1000))
    await client.execute_command(*event(tenant, "a", "in_progress", 1, 1, 1001))
    place = (await streams.span(tenant)).last
    await client.execute_command(*event(tenant, "a", "queued", 1, 0, 1000))
    await client.execute_command(*event(tenant, "a", "completed", 1, 1, 1002))
    async with hub.subscribe(tenant) as subscription:
        until = asyncio.get_running_loop().time() + 3600
        following = Following(streams, subscription, place, lambda _: True, until=until, resumed=True)
        async with contextlib.aclosing(following.batches()) as batches:
            assert [happening.what for happening in await anext(batches)] == ["completed"]


async def test_what_a_stream_keeps(client: Client, streams: Streams, tenant: str) -> None:
    assert (await streams.span(tenant)).first is None
    await tell(client, tenant, "waiting", count=5)
    span = await streams.span(tenant)
    kept = await streams.after(tenant, START)
    assert (span.first, span.last, span.cut) == (kept[0].position, kept[-1].position, False)
    assert [happening.attempt for happening in await streams.after(tenant, kept[2].position)] == [3, 4]
    assert [happening.attempt for happening in await streams.until(tenant, kept[2].position)] == [0, 1, 2]
    await client.xtrim(stream_key(tenant), maxlen=2, approximate=False)
    assert await streams.span(tenant) == (kept[3].position, kept[-1].position, True)
    await streams.close()


async def test_a_read_that_is_cancelled_ends_at_whatever_step(streams: Streams, tenant: str) -> None:
    """A stream whose client has left would keep its place for an hour (Python 3.11's wait_for: gh-86296)."""
    for steps in range(40):
        reading = asyncio.create_task(streams.after(tenant, START))
        for _ in range(steps):
            await asyncio.sleep(0)
        cancelled = reading.cancel()
        await asyncio.wait((reading,))
        assert reading.cancelled() == cancelled, f"after {steps} steps"
    await streams.close()


async def test_a_store_that_comes_back_with_less(tmp_path: Path, tenant: str) -> None:
    """Away, the hub takes nobody new; back and empty, it tells what happens then, to old listeners too."""
    with Redis(tmp_path / "redis") as server:
        async with running(Streams(server.url)) as hub, redis.asyncio.from_url(server.url) as client:
            await client.xadd(stream_key(tenant), event_fields(), id="9999999999999-0")  # a clock that was ahead
            async with hub.subscribe(tenant) as subscription:
                server.stop()
                with pytest.raises(StoreUnavailable):
                    await hub.subscribe("other").__aenter__()
                await asyncio.sleep(1)
                server.wipe()
                server.start()

                await client.connection_pool.disconnect()

                async def heard() -> list[Happening]:
                    await tell(client, tenant, "held", "new")
                    return subscription.take()

                happenings = await eventually(heard, "news after the store came back", interval=0.2)
                assert {happening.job_id for happening in happenings} == {"new"}
                assert happenings[0].position < Position(9999999999999, 0)


def event_fields() -> dict[Any, Any]:
    _, _, _, _, _, _, *fields = event("", "old", "queued", 1, 0, 0)
    return dict(zip(fields[::2], map(str, fields[1::2]), strict=True))
