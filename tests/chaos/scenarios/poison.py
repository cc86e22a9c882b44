"""Messages that nobody can read, in every queue that is consumed, while jobs go on."""

import asyncio
import time
import uuid
from random import Random
from typing import NamedTuple

from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.support.broker import Broker, Letter

from carom_common.topology import (
    CALLBACK_KEY,
    CALLBACK_QUEUE,
    CRASHED_CALLBACK_QUEUE,
    CRASHED_EXECUTE_QUEUE,
    DEAD,
    DELAY,
    EXECUTE_QUEUES,
    HELD_EXECUTE_KEY,
    HELD_EXECUTE_QUEUE,
    PARKED_QUEUE,
    WORK,
    delayed,
    execute_key,
)
from carom_common.workloop import MAX_MESSAGE_BYTES

GROUP = "poison"
PARKED_WITHIN = 60.0
STILL = 2.0
"""Seconds after which what loops would have come again."""


class Way(NamedTuple):
    """How a message gets into a queue, and which queue it is taken from."""

    exchange: str
    key: str
    queue: str


WAYS = (
    *(Way(WORK, execute_key(priority), queue) for priority, queue in EXECUTE_QUEUES.items()),
    Way(WORK, HELD_EXECUTE_KEY, HELD_EXECUTE_QUEUE),
    Way(WORK, CALLBACK_KEY, CALLBACK_QUEUE),
    Way(DELAY, delayed(execute_key(), 100), EXECUTE_QUEUES["normal"]),
    Way(DELAY, delayed(CALLBACK_KEY, 100), CALLBACK_QUEUE),
    Way(DEAD, "crashed.execute", CRASHED_EXECUTE_QUEUE),
    Way(DEAD, "crashed.callback", CRASHED_CALLBACK_QUEUE),
)
BODIES = (
    (b"no JSON, %s", "invalid character"),
    (b'{"version":1,"marker":"%s"}', "missing required field"),
    (b'{"version":2,"marker":"%s"}', "unknown version 2"),
    (b'"%s' + b"x" * MAX_MESSAGE_BYTES + b'"', str(MAX_MESSAGE_BYTES)),
)
"""Undecodable, incomplete, of another version, oversized; and what the reason says."""


def unreadable(stage: Stage, rng: Random, seconds: float) -> None:
    """Each is parked once, byte for byte, with the reason and where it was; and never comes again."""
    end = time.monotonic() + seconds
    while True:
        wrong = stage.thread.run(_poison(stage.rabbitmq.url, rng), 2 * PARKED_WITHIN)
        assert not wrong, "; ".join(wrong[:3])
        if time.monotonic() > end:
            return


async def _poison(url: str, rng: Random) -> list[str]:
    broker = await Broker.connect(url, (PARKED_QUEUE,))
    try:
        sent = [(uuid.uuid4().hex.encode(), way, *body) for way in WAYS for body in BODIES]
        rng.shuffle(sent)
        for marker, way, template, _ in sent:
            await broker.publish(way.key, template % marker, exchange=way.exchange)
        wrong = [
            complaint
            for marker, way, template, reason in sent
            for complaint in _complaints(await broker.parked(marker, PARKED_WITHIN), way, template % marker, reason)
        ]
        await asyncio.sleep(STILL)
        if (parked := len(broker.letters[PARKED_QUEUE])) != len(sent):
            wrong.append(f"{parked} messages were parked of {len(sent)}")
        return wrong
    finally:
        await broker.close()


def _complaints(letters: list[Letter], way: Way, body: bytes, reason: str) -> list[str]:
    wrong = []
    for letter in letters:
        if letter.body != body:
            wrong.append(f"another body than was sent by {way.key}")
        if reason not in str(letter.headers["reason"]) or letter.headers["queue"] != way.queue:
            wrong.append(
                f"parked from {letter.headers['queue']} because of {letter.headers['reason']}, sent by {way.key}"
            )
    return wrong


SCENARIOS = [Scenario(GROUP, "unreadable", unreadable, 0, 60, causes=frozenset())]
