"""A real service that kills itself: `python -m tests.support.crashing <service> <point> <nth> <trace>`.

After the nth time that the step of `point` is over, the process sends itself SIGKILL. Until then it is the service
itself: only the methods that take the steps are wrapped, here and nowhere in the product. Every settled attempt is
noted in the file `trace` (which survives the kill), so that the test knows exactly what must not be repeated. Its
leases are shorter than the product's, so that nobody waits long for what it held; test_leases.py keeps to real ones.
"""

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from carom_common.adapters.amqp.acks import AckBatch
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.egress.client import EgressClient
from carom_common.adapters.store import idempotency, transitions
from carom_common.adapters.store.acts import Acted, Acts
from carom_common.adapters.store.callbacks import Callbacks
from carom_common.adapters.store.executions import Executions
from carom_common.topology import DEAD

LEASE_MS = 4000

POINTS = {
    "intake": ("after-publish", "after-record"),
    "executor": ("after-claim", "after-call", "after-settle", "after-publish", "after-dead-letter", "before-ack"),
    "callback": ("after-claim", "after-call", "after-settle", "after-publish", "before-ack"),
}

ACT_POINTS = ("after-act", "after-tell", "after-publish")
"""Where intake is killed while it acts on jobs that exist."""

Passed = Callable[[tuple[Any, ...], Any], bool]
"""Whether a call with these arguments and this result counts."""


class Fuse:
    """Burns down by one whenever the step is over; at zero the process is gone."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def burn(self) -> None:
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def after(owner: type, name: str, do: Callable[[tuple[Any, ...], Any], None]) -> None:
    """Call `do` with arguments and result whenever the coroutine method has returned."""
    original = getattr(owner, name)

    @functools.wraps(original)
    async def wrapped(*args: Any, **options: Any) -> Any:
        result = await original(*args, **options)
        do(args, result)
        return result

    setattr(owner, name, wrapped)


def light(service: str, point: str, fuse: Fuse) -> None:
    """Tie the fuse to the step of `point`."""

    def at(owner: type, name: str, counts: Passed = lambda _args, _result: True) -> None:
        after(owner, name, lambda args, result: fuse.burn() if counts(args, result) else None)

    match service, point:
        case "intake", "after-record":
            at(Executions, "record_queued")
        case "intake", "after-act":
            at(Acts, "act", lambda _, acted: isinstance(acted, Acted))
        case "intake", "after-tell":
            at(Acts, "tell")
        case "executor", "after-claim":
            at(Executions, "claim", lambda _, claim: bool(claim.verdict == "run"))
        case "callback", "after-claim":
            at(Callbacks, "claim", lambda _, claim: bool(claim.verdict == "run"))
        case _, "after-call":
            at(EgressClient, "send")
        case "executor", "after-settle":
            at(Executions, "settle", lambda _, settled: bool(settled))
        case "callback", "after-settle":
            at(Callbacks, "settle", lambda _, settled: bool(settled))
        case _, "after-publish":
            at(Publisher, "publish", lambda args, _: bool(args[1] != DEAD))
        case _, "after-dead-letter":
            at(Publisher, "publish", lambda args, _: bool(args[1] == DEAD))
        case _, "before-ack":
            burn_before_flush(fuse)
        case _:
            raise SystemExit(f"no point {point} in {service}; there are {POINTS}")


def burn_before_flush(fuse: Fuse) -> None:
    original = AckBatch.flush

    def flush(batch: AckBatch) -> None:
        fuse.burn()
        original(batch)

    setattr(AckBatch, "flush", flush)  # noqa: B010 - an assignment would not pass mypy


def keep_trace(path: Path) -> None:
    """One line `kind job attempt status` for every outcome that the store took."""
    trace = path.open("a", buffering=1)

    def settled(args: tuple[Any, ...], ok: Any) -> None:
        _, message, _, outcome = args
        if ok:
            trace.write(f"attempt {message.job_id} {message.attempt} {outcome.status}\n")

    def called_back(args: tuple[Any, ...], ok: Any) -> None:
        _, message, _, status, *_ = args
        if ok:
            trace.write(f"callback {message.job_id} {message.callback_attempt} {status}\n")

    after(Executions, "settle", settled)
    after(Callbacks, "settle", called_back)


def main() -> None:
    service, point, nth, trace = sys.argv[1:]
    transitions.LEASE_MS = LEASE_MS
    idempotency.HOLD_MS = LEASE_MS
    keep_trace(Path(trace))  # first, so that a settle is noted before its fuse burns
    light(service, point, Fuse(int(nth)))
    sys.argv = [f"carom-{service}"]
    importlib.import_module(f"carom_{service}.main").main()


if __name__ == "__main__":
    main()
