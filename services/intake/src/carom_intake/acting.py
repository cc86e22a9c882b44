"""Acts on jobs that exist: the record first, which notes what it owes; then the message; then the note is taken out.

Whoever dies in between is made good by `Actor.pay_overdue`, a duty of one replica. Fences make a second message
harmless, so that nothing has to be sure that the first one is out.
"""

from carom_common.adapters.amqp.errors import BrokerError
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.acts import Act, Acted, Acts, Refused
from carom_common.adapters.store.records import StoredJob
from carom_common.adapters.store.stats import Tally
from carom_common.contracts.sealing import Unsealable
from carom_common.domain.clock import now_ms
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.trace import traceparent_from
from carom_common.telemetry.tracing import Tracer
from carom_common.topology import CALLBACK_KEY, WORK
from carom_intake.domain.owing import callback_message, execute_message, is_due
from carom_intake.lanes import Lanes
from carom_intake.sending import send

OVERDUE_MS = 10_000
"""A request that acts has published, or failed, well before that."""
PAY_SECONDS = 2.0
_PAID_AT_ONCE = 20

log = get_logger()


class Actor:
    """Methods raise StoreUnavailable, or BrokerError when the act is recorded and its message will follow.

    Unsealable: the job cannot be opened, and whatever it owes waits until it can.
    """

    def __init__(
        self, acts: Acts, publisher: Publisher, lanes: Lanes, tally: Tally, tracer: Tracer | None = None
    ) -> None:
        self._acts = acts
        self._publisher = publisher
        self._lanes = lanes
        self._tally = tally
        self._vault = acts.vault
        self._tracer = tracer

    @property
    def can_publish(self) -> bool:
        return self._publisher.available

    async def act(
        self, act: Act, job_id: str, tenant: str, token: str, traceparent: str = ""
    ) -> Acted | Refused | None:
        """Do it to a tenant's job; None when there is no such job. The same token acts once."""
        acted = await self._acts.act(act, job_id, tenant, token)
        if not isinstance(acted, Acted):
            return acted
        if acted.fresh:
            self._count(acted, tenant)
        due = bool(acted.owed) and is_due(acted.stored.state, acted.owed)
        if acted.fresh or due:
            await self._acts.tell(acted)
        if due:
            await self._publish(job_id, acted.stored, acted.owed, traceparent)
        if acted.owed:
            await self._acts.paid(job_id, acted.owed)
        return acted

    def _count(self, acted: Acted, tenant: str) -> None:
        metrics.acts.labels(acted.act).inc()
        log.info("acted", act=acted.act, job_id=acted.job_id)
        if acted.act == "cancel":
            self._tally.finished(tenant, "cancelled", max(0, now_ms() - int(acted.stored.state["created"])))

    async def _publish(self, job_id: str, stored: StoredJob, owed: str, traceparent: str) -> None:
        if not traceparent and self._tracer is None:
            traceparent = traceparent_from(None)
        record = (job_id, *stored, traceparent)
        if owed.startswith("execute"):
            message = execute_message(*record)
            await send(self._publisher, WORK, self._lanes.of(message.job), message, self._vault, self._tracer)
        elif owed.startswith("callback"):
            await send(self._publisher, WORK, CALLBACK_KEY, callback_message(*record), self._vault, self._tracer)

    async def pay_overdue(self) -> None:
        """Publish what others owe for 10 s: a duty, in one replica at a time. Raises StoreUnavailable."""
        while overdue := await self._acts.overdue(OVERDUE_MS, _PAID_AT_ONCE):
            records = await self._acts.look([job_id for job_id, _ in overdue])
            for entry, stored in zip(overdue, records, strict=True):
                if isinstance(stored, Unsealable):
                    metrics.unsealable.inc()
                    log.error("record_sealed", job_id=entry.job_id, reason=str(stored))
                    await self._acts.put_off(entry)
                    continue
                owed = stored.state.get("owed", "") if stored is not None else ""
                if stored is None or owed.partition(" ")[2] != entry.token:
                    self._acts.forget(entry)
                    continue
                try:
                    await self._pay(entry.job_id, stored, owed)
                except BrokerError as error:
                    log.warning("publish_failed", job_id=entry.job_id, reason=str(error))
                    return

    async def _pay(self, job_id: str, stored: StoredJob, owed: str) -> None:
        if is_due(stored.state, owed):
            await self._acts.tell(Acted(job_id, _act_that_owes(stored.state, owed), False, "", stored))
            await self._publish(job_id, stored, owed, "")
            log.warning("owed_published", job_id=job_id)
        await self._acts.paid(job_id, owed)


def _act_that_owes(state: dict[str, str], owed: str) -> Act:
    if owed.startswith("execute"):
        return "retry"
    redriven = "callback_generation" in state
    return "redrive-callback" if redriven else "cancel"
