"""What was done by whom: a stream a tenant, `carom:audit:<tenant>`, bounded to about the last 10,000 entries."""

from typing import NamedTuple

from carom_common.adapters.store.batch import Batcher

MAX_ENTRIES = 10_000


class Logged(NamedTuple):
    """An entry, and its place in the stream (`<ms>-<n>`)."""

    place: str
    entry: bytes


class AuditLog:
    """Entries are JSON that its user makes and reads."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    def post(self, tenant: str, entry: bytes) -> None:
        """Append with the next round trip. Nobody waits: the act is done, and the log has it too."""
        self._batcher.post(("XADD", _key(tenant), "MAXLEN", "~", MAX_ENTRIES, "*", "e", entry))

    async def before(self, tenant: str, place: str, limit: int) -> list[Logged]:
        """The newest first, older than a place (empty: from the end); raises StoreUnavailable."""
        end = f"({place}" if place else "+"
        reply = await self._batcher.run("XREVRANGE", _key(tenant), end, "-", "COUNT", limit)
        return [Logged(name.decode(), fields[1]) for name, fields in reply]


def _key(tenant: str) -> str:
    return f"carom:audit:{tenant}"
