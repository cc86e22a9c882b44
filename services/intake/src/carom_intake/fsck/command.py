"""`carom-intake fsck`, or `carom-fsck`: arguments, connections, exit code."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from carom_common.adapters.amqp.errors import BrokerError, BrokerUnavailable
from carom_common.adapters.amqp.looking import looker
from carom_common.adapters.amqp.publisher import Publisher
from carom_common.adapters.store.acts import Acts
from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.adapters.store.control import ControlStore
from carom_common.adapters.store.inventory import Checked, Inventory
from carom_common.adapters.store.revival import Revival
from carom_common.adapters.store.survey import Survey
from carom_common.runtime import process_token, store_of, vault_in
from carom_common.settings import Settings, broker_tls, load_settings
from carom_common.telemetry.logging import configure_logging, get_logger
from carom_common.tls import TlsError
from carom_intake.duties import DutyTaken, holding
from carom_intake.fsck.check import Check, Options
from carom_intake.fsck.letters import Letters
from carom_intake.fsck.report import Report
from carom_intake.fsck.rounds import Rounds

NAME = "fsck"
CONNECT_SECONDS = 10.0

log = get_logger()

_DESCRIPTION = (
    "Compares RabbitMQ and Redis: jobs and callbacks whose message is gone, dead letters whose record is gone. Changes "
    "nothing without --repair. Configured by environment variables, as the services are."
)
_EXITS = (
    "Exits with 0 when nothing is wrong (any more), 1 when something was found and not repaired, 2 when not all could "
    "be looked at."
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="carom-fsck", description=_DESCRIPTION, epilog=_EXITS)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="find out and change nothing: what is done by default")
    what.add_argument("--repair", action="store_true", help="publish and record again what is missing")
    parser.add_argument("--json", action="store_true", help="report in one line of JSON")
    parser.add_argument(
        "--wait", type=_seconds, default=1000.0, metavar="SECONDS", help="how long to wait for consumers (1000)"
    )
    parser.add_argument(
        "--grace", type=_seconds, default=60.0, metavar="SECONDS", help="what is due for less is left alone (60)"
    )
    parser.add_argument(
        "--held", type=_seconds, default=430.0, metavar="SECONDS", help="how long what is held may be away (430)"
    )
    parser.add_argument("--deep", action="store_true", help="look at every key of Redis: finds what no index knows")
    parser.add_argument(
        "--dead-letters", action="store_true", help="read the dead queues although that was done since Redis was empty"
    )
    given = parser.parse_args(arguments)
    settings = load_settings(Settings)
    configure_logging(NAME, settings.log_level, settings.log_format, to=sys.stderr)
    options = Options(given.repair, given.wait, given.grace, given.held, given.deep, given.dead_letters)
    report = Report(options.repair)
    began = time.monotonic()
    try:
        asyncio.run(_check(settings, options, report, began + options.wait))
    except (BrokerError, StoreUnavailable, TlsError, DutyTaken) as error:
        log.error("fsck_failed", reason=str(error))
        report.leave_out("the rest", str(error))
    report.seconds = round(time.monotonic() - began, 1)
    print(report.json() if given.json else report.text())  # noqa: T201
    raise SystemExit(report.exit_code)


async def _check(settings: Settings, options: Options, report: Report, ends: float) -> None:
    url, tls = settings.rabbitmq_url.get_secret_value(), broker_tls(settings)
    vault = vault_in(settings)
    store = store_of(settings, vault)
    publisher = Publisher(url, "carom-fsck", _declare_nothing, tls)
    publishing = asyncio.create_task(publisher.run())
    survey, batcher = Survey(store.batcher), store.batcher
    try:
        await store.probe()
        async with holding(batcher, NAME, process_token(), max(0.0, ends - time.monotonic())):
            await _connected(publisher)
            async with looker(url, "carom-fsck", tls) as looking:
                control = ControlStore(batcher)
                inventory = Inventory(batcher)
                rounds = Rounds(survey, inventory, control, publisher, looking, ends)
                await Check(
                    survey,
                    rounds,
                    Acts(batcher, settings.retention, settings.dead_retention),
                    publisher,
                    report,
                    options,
                ).run()
                revival = Revival(batcher, settings.dead_retention)
                await Letters(looking, survey, revival, vault, report).look(always=options.dead_letters)
            if report.complete:
                await inventory.note_check(Checked(int(time.time()), report.found - report.repaired))
            log.info(
                "fsck_done",
                records=report.records,
                found=report.found,
                repaired=report.repaired,
                not_judged=len(report.not_judged),
            )
    finally:
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        await store.close()


async def _declare_nothing() -> None:
    """Whoever consumes a queue declares it: without one there is nothing to compare."""


async def _connected(publisher: Publisher) -> None:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            while not publisher.available:  # noqa: ASYNC110 (once a run)
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise BrokerUnavailable(f"RabbitMQ: {publisher.state}") from None


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1
    if not 0 <= found <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 86400")
    return found
