"""Declaring the topology, through FastStream: idempotent, and the same on every supported broker version."""

import asyncio
from typing import cast
from urllib.parse import urlsplit

from aio_pika.exceptions import AMQPError
from faststream.rabbit import ExchangeType, QueueType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.schemas.queue import QuorumQueueArgs
from faststream.security import BaseSecurity

from carom_common.adapters.amqp.errors import BrokerError
from carom_common.telemetry.logging import get_logger
from carom_common.tls import NO_FILES, TlsError, TlsFiles, client_context, why
from carom_common.topology import EXCHANGES, QUEUES

CONNECT_SECONDS = 10.0
DECLARE_SECONDS = 120.0
RETRY_SECONDS = 2.0

log = get_logger()


async def declare_topology(url: str, tls: TlsFiles = NO_FILES) -> None:
    """Declare every exchange, queue and binding.

    Raises BrokerError; a queue that exists with other arguments is named in it (PRECONDITION_FAILED).
    """
    host, secure = urlsplit(url).hostname, urlsplit(url).scheme == "amqps"
    try:
        security = BaseSecurity(ssl_context=client_context(tls)) if secure else None
    except TlsError as error:
        raise BrokerError(f"cannot declare the topology at {host}: {error}") from error
    broker = RabbitBroker(url, logger=None, fail_fast=True, security=security, timeout=CONNECT_SECONDS)
    try:
        async with asyncio.timeout(DECLARE_SECONDS):
            await _connect(broker)
            exchanges = {
                name: await broker.declare_exchange(RabbitExchange(name, type=ExchangeType.TOPIC, durable=True))
                for name in EXCHANGES
            }
            for queue in QUEUES:
                arguments = cast(QuorumQueueArgs, dict(queue.arguments))
                declared = await broker.declare_queue(
                    RabbitQueue(queue.name, queue_type=QueueType.QUORUM, durable=True, arguments=arguments)
                )
                await declared.bind(exchanges[queue.exchange], queue.binding)
    except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
        raise BrokerError(f"cannot declare the topology at {host}: {why(error, 'BROKER')}") from error
    finally:
        await broker.stop()


async def _connect(broker: RabbitBroker) -> None:
    """aio-pika answers no cancellation while it connects, and would go on for ever: its own time limit ends it."""
    connecting = asyncio.create_task(broker.connect())
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        await asyncio.gather(connecting, return_exceptions=True)
        raise


class Topology:
    """Declares the topology at start and when a part of it is missing, unless somebody else is to do that."""

    def __init__(self, url: str, *, ours: bool, tls: TlsFiles = NO_FILES) -> None:
        self._url = url
        self._tls = tls
        self._ours = ours

    async def declare(self) -> None:
        """Declare it once; raises BrokerError."""
        if self._ours:
            await declare_topology(self._url, self._tls)

    async def declare_when_up(self) -> None:
        """Declare it as soon as the broker can be reached, however long that takes."""
        while True:
            try:
                await self.declare()
            except BrokerError as error:
                log.warning("waiting_for_broker", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return
