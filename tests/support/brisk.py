"""A real service that waits less long for others that died: `python -m tests.support.brisk <service>`.

Its leases, and the hold on an idempotency key, are shorter than the product's; all else is the service itself.
"""

import importlib
import sys

from tests.support.crashing import LEASE_MS

from carom_common.adapters.store import idempotency, transitions


def shorten() -> None:
    transitions.LEASE_MS = LEASE_MS
    idempotency.HOLD_MS = LEASE_MS


def main() -> None:
    (service,) = sys.argv[1:]
    shorten()
    sys.argv = [f"carom-{service}"]
    importlib.import_module(f"carom_{service}.main").main()


if __name__ == "__main__":
    main()
