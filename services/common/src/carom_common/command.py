"""The command line of a service: it serves, declares the broker's topology and ends, or runs a tool of its own."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from carom_common.adapters.amqp.declare import Topology
from carom_common.runtime import run_service
from carom_common.settings import Settings, broker_tls, load_settings
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.metrics import Service

S = TypeVar("S", bound=Settings)

Tool = Callable[[Sequence[str]], None]

log = get_logger()


def main(
    name: Service,
    kind: type[S],
    serve: Callable[[S, asyncio.Event], Coroutine[Any, Any, None]],
    tools: Mapping[str, Tool] | None = None,
) -> None:
    """Read arguments and environment, then run until done or told to stop. Tools have arguments of their own."""
    tools = tools or {}
    if tool := tools.get(sys.argv[1] if len(sys.argv) > 1 else ""):
        tool(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog=f"carom-{name}", description="Configured by environment variables.")
    parser.add_argument("command", nargs="?", choices=["serve", "declare-topology", *tools], default="serve")
    if parser.parse_args().command == "serve":
        settings = load_settings(kind)
        run_service(name, settings, lambda stop: serve(settings, stop))
    else:
        # What only serving needs, such as keys, is not asked for.
        common = load_settings(Settings)
        run_service(name, common, lambda stop: _declare(common, stop))


async def _declare(settings: Settings, stop: asyncio.Event) -> None:
    """Wait for the broker, declare everything, end. For a start before the services with a broker user of its own."""
    topology = Topology(settings.rabbitmq_url.get_secret_value(), ours=True, tls=broker_tls(settings))
    declaring = asyncio.create_task(topology.declare_when_up())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((declaring, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not declaring.done():
        declaring.cancel()
        raise RuntimeError("stopped before the broker could be reached")
    await declaring
    log.info("topology_declared")
