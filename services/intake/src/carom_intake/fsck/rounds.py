"""Which suspects have no message: asked of the queues by barriers, and of the consumers by a question.

A quorum queue cannot be browsed. A barrier is a message that goes through a work queue behind all that is in it; a
consumer that gets it says so in Redis, and acknowledges. By then whatever was in front of it was delivered to somebody.
Then all consumers are asked what they have in hand. A suspect that is in nobody's hands, and that nothing happened to,
has no message. A second round finds what went back to a queue in the middle of the first.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import NamedTuple

from carom_common.adapters.amqp.looking import Looker
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.control import ControlStore
from carom_common.adapters.store.inventory import Inventory, Kind
from carom_common.adapters.store.survey import BATCH, Survey
from carom_common.domain.pauses import Pauses
from carom_common.topology import (
    BARRIER,
    CALLBACK_KEY,
    CALLBACK_QUEUE,
    EXECUTE_QUEUES,
    HELD_EXECUTE_KEY,
    HELD_EXECUTE_QUEUE,
    WORK,
    execute_key,
)
from carom_intake.domain.fsck import FIELDS, Step, Suspect, suspect

POLL_SECONDS = 0.2
SETTLE_SECONDS = 0.5
"""What was delivered just before the barrier may be on its way to its consumer still."""
NOBODY_SECONDS = 10.0
"""So long a queue may have no consumer while pods are replaced."""
LOOK_SECONDS = 2.0

Suspects = dict[str, Suspect]


class _Way(NamedTuple):
    """The queues that a step's messages may be in, by routing key, and who consumes them."""

    queues: dict[str, str]
    kind: Kind


_WAYS: dict[Step, _Way] = {
    "execute": _Way(
        {execute_key(priority): queue for priority, queue in EXECUTE_QUEUES.items()}
        | {HELD_EXECUTE_KEY: HELD_EXECUTE_QUEUE},
        "executor",
    ),
    "callback": _Way({CALLBACK_KEY: CALLBACK_QUEUE}, "callback"),
}


class NotJudgeable(Exception):
    """It cannot be known whether suspects have a message; the text says why. `expected`: because of a pause."""

    def __init__(self, why: str, *, expected: bool = False) -> None:
        super().__init__(why)
        self.expected = expected


class Rounds:
    """`ends`: until when to wait for consumers, by `time.monotonic`. Methods raise BrokerError and StoreUnavailable."""

    def __init__(
        self,
        survey: Survey,
        inventory: Inventory,
        control: ControlStore,
        publisher: Publisher,
        looker: Looker,
        ends: float,
    ) -> None:
        self._survey = survey
        self._inventory = inventory
        self._control = control
        self._publisher = publisher
        self._looker = looker
        self._ends = ends

    async def without_message(self, step: Step, suspects: Suspects, before: int, count: int = 2) -> Suspects:
        """Those that no queue and no consumer has; raises NotJudgeable."""
        for _ in range(count):
            if not suspects:
                break
            suspects = await self._round(_WAYS[step], suspects, before)
        return suspects

    async def not_coming_back(self, suspects: Suspects, before: int, seconds: float) -> Suspects:
        """Those held ones that did not come back from their delay bucket for so long; raises NotJudgeable."""
        until = time.monotonic() + seconds
        while suspects and time.monotonic() < until:
            if time.monotonic() > self._ends:
                raise NotJudgeable(f"held jobs are to be watched for {seconds:.0f} s, which --wait does not allow")
            await asyncio.sleep(min(LOOK_SECONDS, max(0.0, until - time.monotonic())))
            suspects = await self.unchanged(suspects, before)
        return suspects

    async def unchanged(self, suspects: Suspects, before: int) -> Suspects:
        """Those that nothing happened to since they were looked at."""
        left: Suspects = {}
        for jobs in _batches(suspects):
            for job_id, state in zip(jobs, await self._survey.fields(jobs, FIELDS), strict=True):
                if suspect(state, before) == suspects[job_id]:
                    left[job_id] = suspects[job_id]
        return left

    async def _round(self, way: _Way, suspects: Suspects, before: int) -> Suspects:
        await self._send_barriers(way)
        await asyncio.sleep(SETTLE_SECONDS)
        in_hand = await self._in_hand(way)
        left = {job_id: found for job_id, found in suspects.items() if job_id not in in_hand}
        return await self.unchanged(left, before)

    async def _send_barriers(self, way: _Way) -> None:
        waiting = {}
        for key, queue in way.queues.items():
            message_id = f"{BARRIER}{self._publisher.new_message_id()}"
            await self._publisher.publish(WORK, key, b'{"version":0,"barrier":true}', message_id=message_id)
            waiting[queue] = message_id
        alone_since: dict[str, float] = {}
        while True:
            passed = await self._inventory.passed(tuple(waiting.values()))
            waiting = {queue: way for (queue, way), through in zip(waiting.items(), passed, strict=True) if not through}
            if not waiting:
                return
            late = time.monotonic() > self._ends
            await self._refuse_if_alone(waiting, alone_since, late=late)
            if late:
                raise NotJudgeable(f"what waits in {', '.join(waiting)} was not delivered in time: try a longer --wait")
            await asyncio.sleep(POLL_SECONDS)

    async def _refuse_if_alone(self, queues: Iterable[str], since: dict[str, float], *, late: bool) -> None:
        """Nobody consumes a queue: no need to wait for it."""
        now = time.monotonic()
        for queue in queues:
            if await self._looker.consumers(queue):
                since.pop(queue, None)
            elif await self._all_paused():
                raise NotJudgeable("everything is paused: nothing is taken from the queues", expected=True)
            elif late or now - since.setdefault(queue, now) > NOBODY_SECONDS:
                raise NotJudgeable(f"nobody consumes {queue}")

    async def _all_paused(self) -> bool:
        whole = Pauses(await self._control.pauses()).tenants
        return bool(whole) and whole.issuperset(await self._control.tenants.known())

    async def _in_hand(self, way: _Way) -> set[str]:
        question = self._publisher.new_message_id()
        await self._inventory.ask(question)
        while True:
            wanted = max([await self._looker.consumers(queue) or 0 for queue in way.queues.values()])
            answered = await self._inventory.answers(question, way.kind)
            if wanted and answered >= wanted:
                return await self._inventory.in_hand(question, way.kind)
            if time.monotonic() > self._ends:
                raise NotJudgeable(f"only {answered} of {wanted} processes of {way.kind} say what they have in hand")
            await asyncio.sleep(POLL_SECONDS)


def _batches(suspects: Suspects) -> Iterable[list[str]]:
    jobs = list(suspects)
    return (jobs[first : first + BATCH] for first in range(0, len(jobs), BATCH))
