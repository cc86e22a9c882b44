"""Bulk acts under way: what each is to do, how far it is, and which there are.

carom:campaign:<id>                hash; kept for 7 days after its end
carom:campaigns:active             set of the ids that run, of all tenants
carom:campaigns:<tenant>:<act>     sorted set of ids by the time of their start, the last 1000
"""

import asyncio
from typing import Literal, NamedTuple

import msgspec

from carom_common.adapters.store.batch import Batcher
from carom_common.adapters.store.replies import text_fields
from carom_common.domain.clock import now_ms
from carom_common.domain.filters import DeadKind, Filter

BulkAct = Literal["redrive", "cancel"]
Outcome = Literal["done", "skipped"]

MAX_ACTIVE, MAX_ACTIVE_OF_TENANT = 100, 10
KEPT_MS = 7 * 86_400_000
_KEPT_RUNNING_MS = 90 * 86_400_000
_LISTED = 1000
_ACTIVE_KEY = "carom:campaigns:active"

_encode = msgspec.json.Encoder().encode
_decode_filter = msgspec.json.Decoder(Filter).decode


class Campaign(NamedTuple):
    """A bulk act. `rate` in jobs a second, times in Unix milliseconds (`ended` 0: not yet)."""

    id: str
    tenant: str
    act: BulkAct
    kind: DeadKind | None
    filter: Filter
    rate: int
    status: str
    cursor: str | None
    done: int
    skipped: int
    started: int
    ended: int
    by: str = ""
    """The key of whoever began it, and where from."""
    address: str = ""


class Campaigns:
    """Every method raises StoreUnavailable when Redis cannot be asked."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._end = batcher.register("campaign_end")

    async def start(self, campaign: Campaign) -> bool:
        """Write it down for the duty to begin; False when too many run already."""
        active = await self.active()
        if len(active) >= MAX_ACTIVE or sum(c.tenant == campaign.tenant for c in active) >= MAX_ACTIVE_OF_TENANT:
            return False
        fields = {
            "tenant": campaign.tenant,
            "act": campaign.act,
            "kind": campaign.kind or "",
            "filter": _encode(campaign.filter),
            "rate": campaign.rate,
            "status": "running",
            "started": campaign.started,
            "by": campaign.by,
            "address": campaign.address,
        }
        key, listed = _key(campaign.id), f"carom:campaigns:{campaign.tenant}:{campaign.act}"
        await self._batcher.run("HSET", key, *(part for pair in fields.items() for part in pair))
        also = (
            ("ZADD", listed, campaign.started, campaign.id),
            ("ZREMRANGEBYRANK", listed, 0, -_LISTED - 1),
            ("PEXPIRE", listed, _KEPT_RUNNING_MS),
            ("PEXPIRE", key, _KEPT_RUNNING_MS),
        )
        await self._batcher.run("SADD", _ACTIVE_KEY, campaign.id, also=also)
        return True

    async def fetch(self, campaign_id: str) -> Campaign | None:
        fields = text_fields(await self._batcher.run("HGETALL", _key(campaign_id)))
        if "status" not in fields:
            return None
        return Campaign(
            id=campaign_id,
            tenant=fields["tenant"],
            act=msgspec.convert(fields["act"], BulkAct),
            kind=msgspec.convert(fields["kind"] or None, DeadKind | None),
            filter=_decode_filter(fields["filter"]),
            rate=int(fields["rate"]),
            status=fields["status"],
            cursor=fields.get("cursor") or None,
            done=int(fields.get("done", 0)),
            skipped=int(fields.get("skipped", 0)),
            started=int(fields["started"]),
            ended=int(fields.get("ended", 0)),
            by=fields.get("by", ""),
            address=fields.get("address", ""),
        )

    async def latest(self, tenant: str, act: BulkAct, limit: int) -> list[Campaign]:
        """The newest first."""
        ids = await self._batcher.run("ZREVRANGE", f"carom:campaigns:{tenant}:{act}", 0, limit - 1)
        found = await asyncio.gather(*(self.fetch(campaign_id.decode()) for campaign_id in ids))
        return [campaign for campaign in found if campaign is not None]

    async def active(self) -> list[Campaign]:
        """What is to be done; what was stopped or is gone is no longer among it."""
        ids = [member.decode() for member in await self._batcher.run("SMEMBERS", _ACTIVE_KEY)]
        found = await asyncio.gather(*map(self.fetch, ids))
        for campaign_id, campaign in zip(ids, found, strict=True):
            if campaign is None or campaign.status != "running":
                self._batcher.post(("SREM", _ACTIVE_KEY, campaign_id))
        return [campaign for campaign in found if campaign is not None and campaign.status == "running"]

    async def runs(self, campaign_id: str) -> bool:
        return bool(await self._batcher.run("HGET", _key(campaign_id), "status") == b"running")

    def count(self, campaign_id: str, outcome: Outcome, number: int = 1) -> None:
        """Count what became of jobs; sent with the next round trip."""
        self._batcher.post(("HINCRBY", _key(campaign_id), outcome, number))

    async def reached(self, campaign_id: str, cursor: str) -> None:
        """Everything before the cursor is done."""
        also = (("PEXPIRE", _key(campaign_id), _KEPT_RUNNING_MS),)
        await self._batcher.run("HSET", _key(campaign_id), "cursor", cursor, also=also)

    async def end(self, campaign_id: str, status: Literal["done", "stopped"]) -> str | None:
        """End it if it runs; the status that it has then, None when there is none such."""
        now = now_ms()
        also = (("SREM", _ACTIVE_KEY, campaign_id),)
        command = ("EVALSHA", self._end, 1, _key(campaign_id), status, now, now + KEPT_MS)
        reply = await self._batcher.run(*command, also=also)
        return reply.decode() if reply else None


def _key(campaign_id: str) -> str:
    return f"carom:campaign:{campaign_id}"
