"""How a service process lives: start, serve until SIGTERM or SIGINT, drain, exit 0. A loop that dies ends it all."""

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from carom_common.adapters.store.store import Store, StoreUnavailable
from carom_common.admin import Health
from carom_common.contracts.sealing import Vault, parse_sealing_keys
from carom_common.domain.clock import CLOCK
from carom_common.domain.redaction import also_secret
from carom_common.settings import Settings, store_tls
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import configure_logging, get_logger
from carom_common.telemetry.metrics import Service

TAKES_NOTHING_MS = 120_000
"""How long a peer may take nothing of what is sent to it before its connection is reset (tcp(7))."""
WATCH_SECONDS = 1.0
TELL_AGAIN_SECONDS = 30.0
"""How long why the store is away stays told: where a reset overtakes an alert of TLS it is another at each look."""
LAG_SECONDS = 0.25
BACKLOG = 4096

log = get_logger()


def store_of(settings: Settings, vault: Vault) -> Store:
    url = settings.redis_url.get_secret_value()
    return Store(url, settings.retention, settings.dead_retention, store_tls(settings), vault)


def vault_in(settings: Settings) -> Vault:
    """What seals jobs and responses at rest."""
    return Vault(parse_sealing_keys(settings.encryption_keys.get_secret_value()))


def vault_of(settings: Settings) -> Vault:
    """The same for a service; told loudly where nothing is sealed."""
    vault = vault_in(settings)
    metrics.encryption.set(vault.seals)
    if not vault.seals:
        reason = "CAROM_ENCRYPTION_KEYS is empty: RabbitMQ and Redis keep payloads, headers and responses in clear"
        log.warning("encryption_off", reason=reason)
    return vault


def process_token() -> str:
    """Names this process in leases; never the same twice."""
    return f"{socket.gethostname()[:40]}-{os.urandom(4).hex()}"


def run_service(name: Service, settings: Settings, serve: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run `serve(stop)` until it returns; SIGTERM and SIGINT set `stop`. A second signal ends the process at once."""
    configure_logging(name, settings.log_level, settings.log_format, settings.log_sample)
    also_secret(settings.sensitive_headers)
    metrics.begin(name)
    # libuv resolves names on four threads unless told otherwise: a few slow names would hold up all others.
    os.environ.setdefault("UV_THREADPOOL_SIZE", "64")
    # Start-up objects live as long as the process: the collector need not look at them again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if stop.is_set():
                os._exit(1)
            stop.set()

        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, on_signal)
        await serve(stop)

    try:
        uvloop.run(main())
    except BaseExceptionGroup as group:
        log.critical(
            "service_failed", reason="; ".join(str(error) or type(error).__name__ for error in group.exceptions)
        )
        sys.exit(1)
    except Exception as error:
        log.critical("service_failed", reason=str(error) or type(error).__name__)
        sys.exit(1)


@asynccontextmanager
async def background(*loops: Awaitable[None]) -> AsyncIterator[None]:
    """Run endless loops beside the body; cancelled when it ends. One that fails cancels the body too."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_coroutine(loop), name=_name_of(loop)) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _name_of(loop: Awaitable[None]) -> str:
    """`WorkLoop.keep_leases`, for who looks at the tasks of a process."""
    return getattr(loop, "__qualname__", type(loop).__name__)


async def _coroutine(loop: Awaitable[None]) -> None:
    await loop


def listen(host: str, port: int, what: str) -> socket.socket:
    """Bind a port; raises OSError with one clear line when that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Or whoever takes nothing of an answer keeps a connection that was closed, its buffer, and the end of the process.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TAKES_NOTHING_MS)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(f"cannot listen on {host}:{port} for {what}: {error.strerror}") from error
    sock.listen(BACKLOG)
    return sock


async def measure_lag() -> None:
    """See how late the event loop wakes a sleeper; never returns."""
    lag = metrics.loop_lag_seconds.labels()
    while True:
        asleep = time.perf_counter()
        await asyncio.sleep(LAG_SECONDS)
        lag.observe(max(0.0, time.perf_counter() - asleep - LAG_SECONDS))


async def watch(store: Store, health: Health) -> None:
    """Beat for the event loop, and keep asking the store: its state is known without traffic, and so is its time."""
    last, tell_again = "", 0.0
    doubted = False
    while True:
        health.beat("event-loop")
        try:
            async with asyncio.timeout(5):
                jump = CLOCK.compare(await store.probe())
        except (StoreUnavailable, TimeoutError) as error:
            reason = str(error) or "no answer within 5 s"
            if reason != last and time.monotonic() >= tell_again:
                log.warning("store_away", reason=reason)
                last, tell_again = reason, time.monotonic() + TELL_AGAIN_SECONDS
        else:
            store.tally.tell()
            if jump and not doubted:
                log.warning("clock_doubted", seconds=jump / 1000)
            doubted = bool(jump)
            if last:
                log.info("store_back")
            last, tell_again = "", 0.0
        await asyncio.sleep(WATCH_SECONDS)
