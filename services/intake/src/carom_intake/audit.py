"""Writes administrative acts down once they are done: a log event `audit`, and the stream of `GET /api/audit`."""

from typing import NamedTuple

from starlette.requests import Request

from carom_common.adapters.store.audit import AuditLog
from carom_common.adapters.store.campaigns import BulkAct
from carom_common.domain.clock import now_ms
from carom_common.telemetry.logging import get_logger
from carom_intake.auth import Caller, Origins
from carom_intake.domain.audit import AuditAct, Entry, encode_entry

ENDED: dict[BulkAct, AuditAct] = {
    "redrive": AuditAct.BULK_REDRIVE_ENDED,
    "cancel": AuditAct.BULK_CANCEL_ENDED,
}

log = get_logger()


class Who(NamedTuple):
    """Who does something, and from where: also what a bulk act remembers of whoever began it."""

    tenant: str
    by: str
    address: str


class Auditor:
    """One for all routes."""

    def __init__(self, store: AuditLog, origins: Origins) -> None:
        self._store = store
        self._origins = origins

    def who(self, request: Request, caller: Caller) -> Who:
        """The caller of a request; the peer where a trusted proxy says nonsense of it."""
        address = self._origins.of(request.scope)
        peer = request.client.host if request.client else ""
        return Who(caller.tenant, caller.key_id, str(address or peer))

    def tell(
        self,
        request: Request,
        caller: Caller,
        act: AuditAct,
        subject: str,
        count: int | None = None,
        detail: str = "",
    ) -> None:
        """An act of a request is done."""
        request_id = request.scope["request_id"]
        self.tell_of(self.who(request, caller), act, subject, count, request_id=request_id, detail=detail)

    def tell_of(
        self, who: Who, act: AuditAct, subject: str, count: int | None, *, request_id: str = "", detail: str = ""
    ) -> None:
        """An act is done. The log line is there in any case; the stream has it unless the store is lost."""
        entry = Entry(now_ms(), who.tenant, who.by, who.address, act, subject, count, request_id, detail)
        log.info(
            "audit",
            act=act,
            by=who.by,
            tenant=who.tenant,
            address=who.address,
            subject=subject,
            count=count,
            request_id=request_id,
            detail=detail,
        )
        self._store.post(who.tenant, encode_entry(entry))
