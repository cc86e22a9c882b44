"""One message on its way through the four steps, and what a service must do with it."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from carom_common.adapters.amqp.consumer import Delivery
from carom_common.adapters.store.store import Lease, Renewal
from carom_common.passes import Pass
from carom_common.telemetry.attempts import AttemptTrace
from carom_common.telemetry.marks import Marks


class Timed(Protocol):
    """What every message has."""

    @property
    def job_id(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def generation(self) -> int: ...
    @property
    def eta(self) -> int: ...
    @property
    def traceparent(self) -> str: ...
    @property
    def number(self) -> int:
        """Which attempt the message is for."""


M = TypeVar("M", bound=Timed)


class Work(Generic[M]):
    """One message on its way through the four steps. `delivery` changes when the message is delivered again."""

    __slots__ = (
        "_cancelled",
        "_copies",
        "_replaced",
        "answered",
        "calling",
        "crash_loop",
        "delivery",
        "gate_pass",
        "late",
        "lease",
        "leased",
        "marks",
        "message",
        "on_called",
        "renewed_at",
        "step",
        "step_at",
        "task",
        "trace",
    )

    def __init__(self, message: M, delivery: Delivery, process: str) -> None:
        self.message = message
        self.delivery = delivery
        self.marks = Marks()
        self.lease = Lease(message.job_id, delivery.message_id, f"{process}/{delivery.message_id}")
        self.leased = False
        self.calling = False
        self.crash_loop = False
        self.gate_pass: Pass | None = None
        self.answered: bool | None = None
        """Whether the call found somebody; None while none was made."""
        self.on_called: Callable[[Work[M]], None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.trace: AttemptTrace | None = None
        """The spans of the attempt; None where there are none, or before its claim."""
        self.step = ""
        """Which of the steps it is in, since `step_at`; empty before the first."""
        self.step_at = self.renewed_at = 0.0
        """By `time.perf_counter`, as the marks are."""
        self.late: tuple[Delivery, ...] = ()
        """What came while the message was put back, and is still to be dealt with: the copy itself may be among it."""
        self._copies: tuple[Delivery, ...] = ()
        self._replaced: tuple[Delivery, ...] = ()
        self._cancelled = False

    def enter(self, step: str) -> None:
        """Note where it is, for who looks at the process."""
        self.step = step
        self.step_at = perf_counter()

    def called(self) -> None:
        """The call is over: its destination may take another, while this one is settled and published."""
        if self.on_called is not None:
            self.on_called(self)

    def retried(self) -> None:
        """Its call is to be made again: counted where retries storm at one host."""
        if self.gate_pass is not None:
            self.gate_pass.host.retries += 1

    @property
    def alive(self) -> bool:
        return self.delivery.alive

    def attach(self, delivery: Delivery) -> None:
        """Take the same message delivered once more: after its channel went, or as a second copy beside the first."""
        if self.delivery.alive:
            self._copies += (self.delivery,)
        self.delivery = delivery

    def ack(self) -> None:
        for copy in self._copies:
            copy.ack()
        self.delivery.ack()

    def puts_back(self) -> None:
        """The message is about to be published once more: only what is in hand now may be acked for that."""
        self._replaced = (*self._copies, self.delivery)

    def ack_replaced(self) -> None:
        """The copy is confirmed. It may have been here for long, delivered: what came since is `late`, and unacked."""
        for delivery in self._replaced:
            delivery.ack()
        in_hand = (*self._copies, self.delivery)
        self.late = tuple(d for d in in_hand if d.alive and d not in self._replaced)

    def cancel_call(self) -> None:
        """Stop the call under way: its job was cancelled."""
        if self.calling and self.task is not None:
            self._cancelled = True
            self.task.cancel()

    def resume_after_cancel(self) -> bool:
        """Whether a CancelledError is that of `cancel_call`; the task goes on then."""
        cancelled, self._cancelled = self._cancelled, False
        if not cancelled or self.task is None:
            return False
        self.leased = False
        return self.task.uncancel() == 0  # or the process ends, too

    def requeue(self) -> None:
        for copy in (*self._copies, self.delivery):
            copy.requeue()


class Steps(Protocol[M]):
    """What a service does with a message."""

    def decode(self, body: bytes) -> M:
        """Raise Undecodable for what must be parked."""

    async def process(self, work: Work[M]) -> None:
        """Claim, call, settle, publish, ack."""

    async def hop(self, work: Work[M]) -> None:
        """Put a message that is early back into a delay bucket."""

    async def hold(self, work: Work[M], reason: str, delay_ms: int | None) -> None:
        """Put a message that may not begin now into a delay bucket, for longer each time unless the delay is given."""

    async def park(self, delivery: Delivery, reason: str) -> None:
        """Keep an unreadable message, with the reason."""

    async def renew(self, work: Work[M]) -> Renewal: ...

    async def release(self, work: Work[M]) -> None: ...
