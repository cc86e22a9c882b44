"""The command line of a service: it serves, or with `declare-topology` declares the broker's topology and ends."""

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from carom_common.adapters.amqp.declare import Topology
from carom_common.runtime import run_service
from carom_common.settings import Settings, load_settings
from carom_common.telemetry.logging import get_logger

S = TypeVar("S", bound=Settings)

log = get_logger()


def main(name: str, kind: type[S], serve: Callable[[S, asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Read arguments and environment, then run until done or told to stop."""
    parser = argparse.ArgumentParser(prog=f"carom-{name}", description="Configured by environment variables.")
    parser.add_argument("command", nargs="?", choices=["serve", "declare-topology"], default="serve")
    arguments = parser.parse_args()
    settings = load_settings(kind)
    if arguments.command == "serve":
        run_service(name, settings, lambda stop: serve(settings, stop))
    else:
        run_service(name, settings, lambda stop: _declare(settings, stop))


async def _declare(settings: Settings, stop: asyncio.Event) -> None:
    """Wait for the broker, declare everything, end. For a start before the services with a broker user of its own."""
    declaring = asyncio.create_task(Topology(settings.rabbitmq_url.get_secret_value(), ours=True).declare_when_up())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((declaring, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not declaring.done():
        declaring.cancel()
        raise RuntimeError("stopped before the broker could be reached")
    await declaring
    log.info("topology_declared")
