"""Background duties: with several replicas of intake, each duty runs in one of them, under a lease in Redis."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from carom_common.adapters.store.batch import Batcher, StoreUnavailable
from carom_common.adapters.store.duties import DUTY_LEASE_MS, DutyLease
from carom_common.cancelling import answer_cancellation
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger

RENEW_SECONDS = 3.0
TAKE_SECONDS = 1.0
_SURE_SECONDS = DUTY_LEASE_MS / 1000 - 2
"""How long after the last renewal a duty still counts on its lease: the rest is for clocks and round trips."""

log = get_logger()


class _LeaseLost(Exception):
    """Another process has the duty, or may have it by now."""


class DutyTaken(Exception):
    """Another process has the duty, and did not end with it in time; or took it over."""


async def lead(batcher: Batcher, name: str, token: str, duty: Callable[[], Awaitable[None]], every: float) -> None:
    """Run `duty` again and again, `every` seconds after it ended, in one process at a time; never returns.

    `token` names the process (`runtime.process_token()`). A duty is cancelled at an await when its lease is lost, and
    it may then be under way in two processes for a moment: it must be safe to repeat. One that fails is logged and
    tried again. When this is cancelled, another replica takes over within a second or so; when the process is
    killed, within 10 s.
    """
    lease, led = DutyLease(batcher, name, token), metrics.duty_led.labels(name)
    led.set(0)
    try:
        while True:
            taken_at = time.monotonic()
            if not await _take(lease):
                await asyncio.sleep(TAKE_SECONDS)
                continue
            led.set(1)
            log.info("duty_taken", duty=name)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_keep(lease, taken_at))
                    group.create_task(_repeat(name, duty, every))
            except* _LeaseLost:
                led.set(0)
                log.warning("duty_lost", duty=name)
            answer_cancellation(0)  # a TaskGroup that fails loses it before Python 3.13
    finally:
        await _give_up(lease)


@asynccontextmanager
async def holding(batcher: Batcher, name: str, token: str, wait: float) -> AsyncIterator[None]:
    """Have a duty for the time of a body that is done once; raises DutyTaken, and cancels the body when it is lost.

    `wait`: for how many seconds to wait for another process to end. Raises StoreUnavailable.
    """
    lease, taken_at = DutyLease(batcher, name, token), time.monotonic()
    ends = taken_at + wait
    while not await lease.take():
        if time.monotonic() > ends:
            raise DutyTaken(f"another process does this already ({name})")
        await asyncio.sleep(TAKE_SECONDS)
        taken_at = time.monotonic()
    try:
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(_keep(lease, taken_at))
            yield
            keeping.cancel()
    except BaseExceptionGroup as group:
        if group.subgroup(_LeaseLost) is not None:
            raise DutyTaken(f"the lease was lost ({name})") from None
        raise group.exceptions[0] from None
    finally:
        await _give_up(lease)


async def _take(lease: DutyLease) -> bool:
    try:
        return await lease.take()
    except StoreUnavailable:
        return False


async def _give_up(lease: DutyLease) -> None:
    """So that others need not wait until it runs out."""
    with contextlib.suppress(StoreUnavailable, TimeoutError):
        async with asyncio.timeout(1):
            await lease.give_up()


async def _keep(lease: DutyLease, taken_at: float) -> None:
    """Renew the lease; raises _LeaseLost as soon as it is not surely ours any more."""
    while True:
        left = taken_at + _SURE_SECONDS - time.monotonic()
        await asyncio.sleep(min(RENEW_SECONDS, max(0.0, left)))
        asked_at = time.monotonic()
        try:
            async with asyncio.timeout(max(0.1, taken_at + _SURE_SECONDS - asked_at)):
                if not await lease.take():
                    raise _LeaseLost
        except (StoreUnavailable, TimeoutError):
            if time.monotonic() >= taken_at + _SURE_SECONDS:
                raise _LeaseLost from None
        else:
            taken_at = asked_at


async def _repeat(name: str, duty: Callable[[], Awaitable[None]], every: float) -> None:
    while True:
        try:
            await duty()
        except StoreUnavailable as error:
            metrics.duty_failures.labels(name).inc()
            log.warning("duty_failed", duty=name, reason=str(error))
        except Exception as error:  # whatever it was: a duty that fails must not end the API
            metrics.duty_failures.labels(name).inc()
            metrics.defects.labels("duty").inc()
            log.exception("duty_failed", duty=name, reason=type(error).__name__)
        await asyncio.sleep(every)
