"""What one `Idempotency-Key` stands for happens once, in whatever replica and however often it is asked for."""

import math
import uuid
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from starlette.requests import Request

from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.adapters.store.idempotency import Claimed, IdempotencyKey, IdempotencyKeys
from carom_common.domain.clock import now_ms
from carom_common.telemetry.logging import get_logger
from carom_intake.domain.idempotency import HEADER, InvalidKey, fingerprint, key_in
from carom_intake.problems import HttpProblem

P = TypeVar("P")

log = get_logger()


class Given(NamedTuple):
    """An answer, and whether it is the last word: one that is not is never repeated, the same request goes on."""

    body: bytes
    last: bool


class Answer(NamedTuple):
    body: bytes
    job_id: str
    """The job, or what the ids of a batch come from."""
    replayed: bool

    @property
    def headers(self) -> dict[str, str]:
        return {"Idempotency-Replayed": "true"} if self.replayed else {}


def new_job_id() -> str:
    return str(uuid.uuid4())


def idempotency_key(request: Request) -> str | None:
    """The request's key; 400 when the header is no key."""
    try:
        return key_in(request.headers.getlist("idempotency-key"))
    except InvalidKey as error:
        raise HttpProblem(400, str(error)) from None


class Once:
    """Reads a request and acts upon it, at most once for a key."""

    def __init__(self, keys: IdempotencyKeys) -> None:
        self._keys = keys

    async def answer(
        self,
        tenant: str,
        name: str | None,
        path: str,
        body: bytes,
        parse: Callable[[int], Awaitable[P]],
        act: Callable[[P, str, int], Awaitable[Given]],
    ) -> Answer:
        """`parse` what came at a time, raising its problems; `act` on that for a job id, at that time.

        Without a key (`name`) there is no more to it. Whoever goes on where another request broke off gets that one's
        job id and time, so that what is published twice is the same job, and the fences drop the second copy.
        """
        now = now_ms()
        if name is None:
            job_id = new_job_id()
            return Answer((await act(await parse(now), job_id, now)).body, job_id, False)
        key = self._keys.key(tenant, name, fingerprint(path, body))
        parsed, claimed = await self._claimed(key, parse, now)
        if claimed.verdict == "answered":
            return Answer(claimed.answer, claimed.job_id, True)
        try:
            if claimed.created != now:
                parsed = await parse(claimed.created)
            given = await act(parsed, claimed.job_id, claimed.created)
        except BaseException:
            key.release(claimed)
            raise
        await _end(key, claimed, given)
        return Answer(given.body, claimed.job_id, False)

    async def _claimed(
        self, key: IdempotencyKey, parse: Callable[[int], Awaitable[P]], now: int
    ) -> "tuple[P, Claimed]":
        try:
            parsed = await parse(now)
        except HttpProblem:
            # What was right when it first came may be late by now: it is the same request all the same.
            seen = await key.first_seen()
            if not seen:
                raise
            parsed = await parse(seen)
        claimed = await key.claim(new_job_id(), now)
        if claimed.verdict == "other":
            raise HttpProblem(422, f"this {HEADER} was used with another request", reason="idempotency-key-reused")
        if claimed.verdict == "busy":
            wait = {"Retry-After": str(max(1, math.ceil(min(claimed.left_ms, 1000) / 1000)))}
            detail = f"a request with this {HEADER} is under way; try again"
            raise HttpProblem(409, detail, headers=wait, reason="idempotency-key-in-use")
        return parsed, claimed


async def _end(key: IdempotencyKey, claimed: Claimed, given: Given) -> None:
    if not given.last:
        key.release(claimed)
        return
    try:
        await key.keep(claimed, given.body)
    except StoreUnavailable as error:
        # The jobs are accepted. Who asks again goes on with the same ids, which is the same answer.
        log.warning("idempotency_not_kept", job_id=claimed.job_id, reason=str(error))
