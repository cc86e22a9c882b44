"""What clients and operators do to a job that exists, and what must be published then (scripts/act.lua).

`carom:owed` (sorted set of `<jobId>/<token>` by Unix milliseconds) names the jobs that owe a message. It is written
before the record, and cleared after the message is confirmed: a process may die in between, another one publishes.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from carom_common.adapters.store import index
from carom_common.adapters.store.batch import Batcher, Command
from carom_common.adapters.store.events import event
from carom_common.adapters.store.records import StoredJob, fetch_record, log_key, opened, state_key
from carom_common.contracts.job import decode_job
from carom_common.contracts.sealing import Unsealable, Vault
from carom_common.domain.clock import now_ms

Act = Literal["cancel", "retry", "redrive-execute", "redrive-callback", "forget-execute", "forget-callback"]

OWED_KEY = "carom:owed"
MAX_GENERATIONS = 100
"""How often a job may be run again: its record and messages keep the attempts of all generations."""


@dataclass(slots=True, frozen=True)
class Acted:
    """An act was done, now or by an earlier request for the same; `was` is the reason that the job had before."""

    job_id: str
    act: Act
    fresh: bool
    was: str
    stored: StoredJob

    @property
    def owed(self) -> str:
        """`<execute|callback|news> <token>`, or nothing."""
        return self.stored.state.get("owed", "")


@dataclass(slots=True, frozen=True)
class Refused:
    """The job's status, and why the act is not possible: `final`, `not dead`, `generations` or the status."""

    status: str
    why: str


class Owed(NamedTuple):
    """An entry of the outbox."""

    job_id: str
    token: str


def new_token() -> str:
    return os.urandom(8).hex()


class Acts:
    """Every method raises StoreUnavailable when Redis cannot be asked; asking again, with the same token, is safe.

    What gives a record raises Unsealable where that cannot be opened; the act is done then, and owed.
    """

    def __init__(self, batcher: Batcher, retention_seconds: int, dead_retention_seconds: int) -> None:
        self._batcher = batcher
        self._kept = (retention_seconds * 1000, dead_retention_seconds * 1000)
        self._act, self._paid = batcher.register("act"), batcher.register("paid")

    @property
    def vault(self) -> Vault:
        return self._batcher.vault

    async def act(self, act: Act, job_id: str, tenant: str, token: str) -> Acted | Refused | None:
        """Do it; None when the tenant has no such job. The same token is done once only."""
        wanted = 0
        if act == "cancel":
            job = await self._batcher.run("LINDEX", log_key(job_id), 0)
            if job is None:
                return None
            wanted = int(decode_job(self._batcher.vault.open(job_id, job)).wants("cancelled"))
        if act not in ("forget-execute", "forget-callback"):
            await self._batcher.run("ZADD", OWED_KEY, now_ms(), f"{job_id}/{token}")
        arguments = (act, token, tenant, *self._kept, wanted, MAX_GENERATIONS)
        reply = await self._batcher.run("EVALSHA", self._act, 2, state_key(job_id), log_key(job_id), *arguments)
        if reply[0] == b"ok":
            _, fresh, was, state, log = reply
            stored = opened(self._batcher.vault, job_id, state, log)
            return Acted(job_id, act, fresh == 1, was.decode(), stored)
        self._batcher.post(("ZREM", OWED_KEY, f"{job_id}/{token}"))
        return Refused(reply[1].decode(), reply[2].decode()) if reply[0] == b"refused" else None

    async def tell(self, acted: Acted) -> None:
        """Move the job between the indexes, and tell its new state: before its message is out, which tells more."""
        state = acted.stored.state
        tenant, created = state["tenant"], int(state["created"])
        what, left, entered = _moves(acted)
        moves: list[Command] = [
            *index.leaves(tenant, acted.job_id, *left),
            *index.enters(tenant, acted.job_id, created, *entered),
        ]
        if what:
            numbers = (int(state["generation"]), int(state["attempt"]), int(state["updated"]))
            moves.append(event(tenant, acted.job_id, what, *numbers))
        await self._batcher.run(*moves[0], also=tuple(moves[1:]))

    async def paid(self, job_id: str, owed: str) -> None:
        """What was owed is published."""
        entry = f"{job_id}/{owed.partition(' ')[2]}"
        also = (("ZREM", OWED_KEY, entry),)
        await self._batcher.run("EVALSHA", self._paid, 1, state_key(job_id), owed, also=also)

    async def overdue(self, older_than_ms: int, limit: int) -> list[Owed]:
        """What has been owed for so long that whoever should publish it may be gone; the oldest first."""
        command = ("ZRANGEBYSCORE", OWED_KEY, "-inf", now_ms() - older_than_ms, "LIMIT", 0, limit)
        entries = [entry.decode() for entry in await self._batcher.run(*command)]
        return [Owed(*entry.partition("/")[::2]) for entry in entries]

    async def look(self, jobs: Sequence[str]) -> list[StoredJob | Unsealable | None]:
        """The records of some jobs, or why one cannot be opened."""
        return await asyncio.gather(*map(self._look, jobs))

    async def _look(self, job_id: str) -> StoredJob | Unsealable | None:
        try:
            return await fetch_record(self._batcher, job_id)
        except Unsealable as error:
            return error

    async def put_off(self, owed: Owed) -> None:
        """Look at an entry again when those that are overdue now are done."""
        await self._batcher.run("ZADD", OWED_KEY, "XX", now_ms(), f"{owed.job_id}/{owed.token}")

    def forget(self, owed: Owed) -> None:
        """Take an entry out that stands for nothing (any more)."""
        self._batcher.post(("ZREM", OWED_KEY, f"{owed.job_id}/{owed.token}"))


_Names = tuple[str, ...]


def _moves(acted: Acted) -> tuple[str, _Names, _Names]:
    """What to tell, and the indexes that an act takes a job out of and puts it into."""
    match acted.act:
        case "cancel":
            return "cancelled", ("open", "held"), index.final("cancelled", "cancelled", False)
        case "retry" | "redrive-execute":
            final = tuple(f"status:{status}" for status in index.INDEXED_STATUSES)
            reason = (f"reason:{acted.was}",) if acted.was else ()
            return "queued", (*final, *reason, "dead:execute", "dead:callback", "held"), ("open",)
        case "redrive-callback":
            return "callback.waiting", ("dead:callback",), ()
        case "forget-execute":
            return "", ("dead:execute",), ()
        case "forget-callback":
            return "", ("dead:callback",), ()
