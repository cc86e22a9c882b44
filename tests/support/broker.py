"""A raw AMQP client: publishes what Carom itself never would, and keeps what arrives in the dead queues."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from tests.support.waiting import WITHIN, eventually

from carom_common.topology import DEAD, DEAD_CALLBACK_QUEUE, DEAD_EXECUTE_QUEUE, PARKED_QUEUE, WORK

DEAD_QUEUES = (DEAD_EXECUTE_QUEUE, DEAD_CALLBACK_QUEUE, PARKED_QUEUE)


@dataclass(frozen=True)
class Letter:
    """A message found in a dead queue."""

    headers: Mapping[str, Any]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Broker:
    """`await Broker.connect(url)`; consumes the three dead queues, or these, from then on."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        self.connection = connection
        self.channel = channel
        self.letters: dict[str, list[Letter]] = {}

    @classmethod
    async def connect(cls, url: str, queues: Sequence[str] = DEAD_QUEUES) -> "Broker":
        connection = await aio_pika.connect(url)
        broker = cls(connection, await connection.channel())
        for name in queues:
            queue = await broker.channel.get_queue(name, ensure=False)
            await queue.consume(broker._keep_in(broker.letters.setdefault(name, [])))
        return broker

    def _keep_in(self, letters: list[Letter]) -> Any:
        async def keep(message: AbstractIncomingMessage) -> None:
            letters.append(Letter(message.headers, message.body))
            await message.ack()

        return keep

    async def close(self) -> None:
        await self.connection.close()

    async def publish(
        self, key: str, body: bytes, *, exchange: str = WORK, message_id: str | None = None, **headers: Any
    ) -> None:
        """Publish with confirm; fails when no queue takes the message."""
        message = aio_pika.Message(
            body,
            message_id=message_id or uuid.uuid4().hex,
            headers=headers,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        target = await self.channel.get_exchange(exchange, ensure=False)
        await target.publish(message, key, mandatory=True)

    async def dead(self, queue: str, job_id: str, within: float = WITHIN) -> Letter:
        """The dead letter of a job."""
        await eventually(lambda: self._of(queue, job_id), f"a letter of {job_id} in {queue}", within)
        letters = self._of(queue, job_id)
        assert len(letters) == 1, f"{len(letters)} letters of {job_id} in {queue}"
        return letters[0]

    async def not_dead(self, queue: str, job_id: str) -> None:
        """Nothing of this job is in the queue up to now: a marker published now arrives, and nothing did before it."""
        marker = uuid.uuid4().hex
        key = {DEAD_EXECUTE_QUEUE: "execute.marker", DEAD_CALLBACK_QUEUE: "callback.marker"}[queue]
        await self.publish(key, b"{}", exchange=DEAD, marker=marker)
        await eventually(
            lambda: any(letter.headers.get("marker") == marker for letter in self.letters[queue]), "the marker arrives"
        )
        assert not self._of(queue, job_id), f"{job_id} is in {queue}"

    def _of(self, queue: str, job_id: str) -> list[Letter]:
        return [letter for letter in self.letters[queue] if f'"{job_id}"'.encode() in letter.body]

    async def parked(self, marker: bytes, within: float = WITHIN) -> list[Letter]:
        """The parked messages whose body contains the marker, once there is one."""

        def found() -> list[Letter]:
            return [letter for letter in self.letters[PARKED_QUEUE] if marker in letter.body]

        return await eventually(found, f"{marker!r} is parked", within)
