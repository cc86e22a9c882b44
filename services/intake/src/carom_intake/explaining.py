"""`GET /api/jobs/{jobId}?explain=true`: the job, and in words where it is, why it waits and what happens next.

Everything is asked anew, past what this process remembers: a pause may be a moment old.
"""

import asyncio

from carom_common.adapters.store.control import ControlStore
from carom_common.adapters.store.index import index_key
from carom_common.adapters.store.records import StoredJob
from carom_common.adapters.store.stats import Stats
from carom_common.adapters.store.store import Store
from carom_common.contracts.job import decode_job
from carom_common.contracts.message import DEFAULT_TENANT
from carom_common.contracts.sealing import Unsealable
from carom_common.domain.destinations import destination_of
from carom_common.domain.filters import decode_head
from carom_common.domain.pauses import Pauses
from carom_common.domain.rules import RuleBook, limits_of
from carom_intake.auth import Caller
from carom_intake.domain.documents import Record, typed_document
from carom_intake.domain.explaining.calls import explain
from carom_intake.domain.explaining.ends import of_outlived, of_sealed
from carom_intake.domain.explaining.parts import Around, Now
from carom_intake.domain.keys import Scope
from carom_intake.domain.waits import with_pause
from carom_intake.problems import HttpProblem
from carom_intake.reading import is_uuid, no_such_job


class Explainer:
    """Looks at a job, and at all that may hold it."""

    def __init__(self, store: Store, control: ControlStore, book: RuleBook) -> None:
        self._store = store
        self._control = control
        self._book = book
        self._stats = Stats(store.batcher)

    async def document(self, job_id: str, caller: Caller) -> bytes:
        """The typed document with its explanation; 404 as without it, and Unsealable, each saying what is known."""
        stored = await self._stored(job_id, caller.tenant)
        around = await self._around(stored, caller)
        head = decode_head(stored.job)
        # The document and its explanation know the same pauses.
        state = with_pause(stored.state, head, caller.tenant, Pauses(around.pauses), around.now)
        payloads = caller.may(Scope.PAYLOADS_READ)
        told = explain(Record(job_id, *stored, payloads=payloads), caller.tenant, around)
        return typed_document(Record(job_id, *stored._replace(state=state), payloads=payloads), told)

    async def _stored(self, job_id: str, tenant: str) -> StoredJob:
        if not is_uuid(job_id):
            raise no_such_job()
        try:
            stored = await self._store.fetch(job_id)
            state = stored.state if stored is not None else await self._store.state_of(job_id)
        except Unsealable as error:
            state = await self._store.state_of(job_id)
            if state is not None and state.get("tenant", DEFAULT_TENANT) == tenant:
                raise Unsealable(f"{error}; {of_sealed(state)}") from None
            raise no_such_job() from None
        if state is None or state.get("tenant", DEFAULT_TENANT) != tenant:
            raise no_such_job()
        if stored is None:
            raise HttpProblem(404, of_outlived(state))
        return stored

    async def _around(self, stored: StoredJob, caller: Caller) -> Around:
        job = decode_job(stored.job)
        called_back = job.calls_back
        host = destination_of(job.target_url)
        receiver = destination_of(called_back.url) if called_back is not None else host
        ahead = ("ZCOUNT", index_key(caller.tenant, "open"), "-inf", f"({stored.state['created']}")
        pauses, here, there, before, (running, _) = await asyncio.gather(
            self._control.pauses(),
            self._now(host, caller),
            self._now(receiver, caller),
            self._store.batcher.run(*ahead),
            self._stats.told(caller.tenant),
        )
        (target, at), (callback, _) = here, there
        mine = [pause for pause in pauses if pause.tenant == caller.tenant]
        return Around(at, mine, target, callback, int(before), running)

    async def _now(self, host: str, caller: Caller) -> tuple[Now, int]:
        """A destination, and when it was like that."""
        live, rule = await asyncio.gather(self._control.live(host), self._control.rule(host))
        limits = limits_of(rule or self._book.configured.get(host), self._book.default)
        return Now(limits, live.opened_ago, live.permits if caller.may(Scope.OPERATE) else None), live.at
