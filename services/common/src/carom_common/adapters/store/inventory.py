"""What `carom-fsck` asks of the consuming processes, and what they answer. Keys go by themselves but for one.

carom:{control}:asked                    the question that is open; processes look at it once a second
carom:{control}:told:<question>:<kind>   hash: process -> how many deliveries it had in hand when it was asked
carom:{control}:hand:<question>:<kind>   set: the jobs of these
carom:{control}:checked                  hash: what the last check left, for intake to tell; stays
carom:{control}:<message id>             of a barrier: it was delivered, and so was all before it in its queue
"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.replies import pairs

Kind = Literal["executor", "callback"]

ASKED_KEY = "carom:{control}:asked"
_CHECKED_KEY = "carom:{control}:checked"
KEPT_MS = 600_000
_AT_ONCE = 1000


def _told_key(question: str, kind: str) -> str:
    return f"carom:{{control}}:told:{question}:{kind}"


def _hand_key(question: str, kind: str) -> str:
    return f"carom:{{control}}:hand:{question}:{kind}"


def _barrier_key(message_id: str) -> str:
    return f"carom:{{control}}:{message_id}"


class Checked(NamedTuple):
    """What the last check that could look at all left: its end in Unix seconds, and how much it did not repair."""

    at: int
    unrepaired: int


class Inventory:
    """Every method raises StoreUnavailable when Redis cannot be asked; asking again is safe."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    # Of a consuming process

    async def came_through(self, message_id: str) -> None:
        """A barrier was delivered to this process."""
        await self._batcher.run("SET", _barrier_key(message_id), 1, "PX", KEPT_MS)

    async def tell(self, question: str, kind: str, process: str, jobs: Collection[str]) -> None:
        """Answer a question with the jobs whose deliveries this process has in hand."""
        hand, told = _hand_key(question, kind), _told_key(question, kind)
        for some in _batches(tuple(jobs)):
            await self._batcher.run("SADD", hand, *some, also=(("PEXPIRE", hand, KEPT_MS),))
        await self._batcher.run("HSET", told, process, len(jobs), also=(("PEXPIRE", told, KEPT_MS),))

    # Of the check

    async def passed(self, message_ids: Sequence[str]) -> list[bool]:
        """Which barriers came through."""
        replies = await self._batcher.run_all([("GET", _barrier_key(message_id)) for message_id in message_ids])
        return [reply is not None for reply in replies]

    async def ask(self, question: str) -> None:
        await self._batcher.run("SET", ASKED_KEY, question, "PX", KEPT_MS)

    async def answers(self, question: str, kind: Kind) -> int:
        """How many processes have answered."""
        return len(pairs(await self._batcher.run("HGETALL", _told_key(question, kind))))

    async def in_hand(self, question: str, kind: Kind) -> set[str]:
        """The jobs that they named."""
        return {member.decode() for member in await self._batcher.run("SMEMBERS", _hand_key(question, kind))}

    async def note_check(self, checked: Checked) -> None:
        await self._batcher.run("HSET", _CHECKED_KEY, "at", checked.at, "unrepaired", checked.unrepaired)

    async def last_check(self) -> Checked | None:
        at, unrepaired = await self._batcher.run("HMGET", _CHECKED_KEY, "at", "unrepaired")
        return Checked(int(at), int(unrepaired)) if at is not None and unrepaired is not None else None


def _batches(jobs: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [jobs[first : first + _AT_ONCE] for first in range(0, len(jobs), _AT_ONCE)]
