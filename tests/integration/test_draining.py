"""What is under way with the broker when a process is told to end."""

import asyncio
import socket
from typing import Any

import aio_pika
import pytest
from tests.integration.conftest import Servers
from tests.support.broker import Broker
from tests.support.waiting import eventually

from carom_common.adapters.amqp import declare
from carom_common.adapters.amqp.channel import Channel
from carom_common.adapters.amqp.consumer import Consumer, Delivery

pytestmark = pytest.mark.stack


async def test_a_consumer_that_comes_to_be_while_it_drains_takes_nothing(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or each message is put back and comes again until the broker has counted a thousand deliveries."""
    consume, begins, goes_on = Channel.consume, asyncio.Event(), asyncio.Event()
    taken: list[Delivery] = []

    async def late(self: Channel, *arguments: Any) -> str:
        tag = await consume(self, *arguments)
        begins.set()
        await goes_on.wait()
        return tag

    monkeypatch.setattr(Channel, "consume", late)

    async def nothing() -> None: ...

    broker = await Broker.connect(servers.rabbitmq.url, ())
    queue = await broker.channel.declare_queue("draining")
    consumer = Consumer(servers.rabbitmq.url, "draining", {queue.name: 1}, taken.append, nothing)
    running = asyncio.create_task(consumer.run())
    try:
        async with asyncio.timeout(20):
            await begins.wait()
            await consumer.drain()
            goes_on.set()

            async def without_consumers() -> bool:
                found = await broker.channel.declare_queue(queue.name, passive=True)
                return not found.declaration_result.consumer_count

            await eventually(without_consumers, "nobody consumes", 10, 0.1)
            await broker.channel.default_exchange.publish(aio_pika.Message(b"stays"), queue.name)
            message = await eventually(lambda: queue.get(fail=False), "the message")
            await message.ack()
            assert taken == []
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await consumer.close()
        await queue.delete(if_empty=False)
        await broker.close()


async def test_a_broker_that_says_nothing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """aio-pika's robust connection goes on for ever when it is cancelled while it connects."""
    monkeypatch.setattr(declare, "CONNECT_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        before = asyncio.all_tasks()
        declaring = asyncio.create_task(declare.declare_topology(f"amqp://127.0.0.1:{silent.getsockname()[1]}/"))
        await asyncio.sleep(0.2)
        declaring.cancel()
        await asyncio.wait((declaring,), timeout=5)
        assert declaring.cancelled()
        await eventually(lambda: not asyncio.all_tasks() - before, "nothing is left of it", 5)
