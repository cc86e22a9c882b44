"""When the certificates that are mounted expire, as metrics: whoever renews them may have stopped doing so."""

import asyncio
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from carom_common.egress_settings import EgressSettings
from carom_common.settings import Settings, broker_tls, store_tls
from carom_common.telemetry import metrics
from carom_common.tls_hosts import read_tls_hosts

LOOK_SECONDS: Final = 60.0
NEVER: Final = math.inf


async def watch_certificates(settings: Settings) -> None:
    """Look at once and then each minute, as files are renewed while we run; never returns."""
    uses = certificate_files(settings)
    while True:
        found = await asyncio.to_thread(lambda: {use: soonest(paths) for use, paths in uses.items()})
        for use, when in found.items():
            metrics.certificate_expiry.labels(use).set(when)
        await asyncio.sleep(LOOK_SECONDS)


def certificate_files(settings: Settings) -> dict[str, list[str]]:
    """The files with certificates, by what they are for."""
    broker, store = broker_tls(settings), store_tls(settings)
    hosts = read_tls_hosts(settings.egress_tls) if isinstance(settings, EgressSettings) else None
    return {
        "broker-ca": [broker.ca],
        "broker-client": [broker.certificate],
        "store-ca": [store.ca],
        "store-client": [store.certificate],
        "egress": sorted(hosts.certificates) if hosts is not None else [],
    }


def soonest(paths: Iterable[str]) -> float:
    """When the first of these files is of no use any more, in Unix time; +Inf without files.

    A file with several certificates is one of CAs (of which old ones stay while new ones come) or a chain. Those that
    have expired are passed over as long as another is good.
    """
    return min((_of_file(Path(path)) for path in paths if path), default=NEVER)


def _of_file(path: Path) -> float:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):  # half written, or away: who connects says so
        return NEVER
    ends = [certificate.not_valid_after_utc for certificate in found]
    now = datetime.now(UTC)
    good = [end for end in ends if end > now]
    return (min(good) if good else max(ends)).timestamp()
