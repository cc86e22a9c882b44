"""Which ports may be called: those of a list, or all but those where something else than HTTP listens. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

LAST: Final = 65_535
DEFAULT: Final = "default"
"""An entry that stands for those that are blocked by default."""

# The bad ports of the Fetch standard (https://fetch.spec.whatwg.org/#port-blocking), by which no browser can be made to
# speak to a mail server or a shell; and brokers and stores, whose protocols take the lines of a request as commands.
# Discard (9) and tcpmux (1) are left out: they do no harm, and are how an address where nobody listens is written.
BLOCKED_BY_DEFAULT: Final = (
    *("0", "7", "11", "13", "15", "17", "19-23", "25", "37", "42-43", "53", "69", "77", "79", "87", "95"),
    *("101-104", "109-111", "113", "115", "117", "119", "123", "135", "137", "139", "143", "161", "179", "389", "427"),
    *("445", "465", "512-515", "526", "530-532", "540", "548", "554", "556", "563", "587", "601", "636", "989-990"),
    *("993", "995", "1433", "1521", "1719-1720", "1723", "1883", "2049", "2181", "3306", "3389", "3659", "4045"),
    *("4190", "4222", "4369", "5060-5061", "5432", "5671-5672", "5900", "6000", "6379-6380", "6566", "6665-6669"),
    *("6679", "6697", "9042", "9092-9093", "10080", "11211", "25672", "27017-27019"),
)


class Ports:
    """A table of what may be called: `ports.refused[port]` is 0 or 1."""

    __slots__ = ("_allow", "refused")

    def __init__(self, allow: Iterable[str] = (), blocked: Iterable[str] = (DEFAULT,)) -> None:
        """Entries are `443` or `8000-8999`; blocked ones win, and without `allow` all others may be called.

        A bad entry: ValueError.
        """
        allowed = [_span(entry) for entry in allow]
        self._allow = bool(allowed)
        refused = bytearray([self._allow]) * (LAST + 1)
        for first, last in allowed:
            refused[first : last + 1] = bytes(last + 1 - first)
        for first, last in _blocked(blocked):
            refused[first : last + 1] = b"\x01" * (last + 1 - first)
        self.refused: Final = bytes(refused)

    def refusal(self, port: int) -> str | None:
        """Why the port must not be called, None if it may be."""
        if not self.refused[port]:
            return None
        return f"port {port} is not among the allowed ports" if self._allow else f"port {port} is blocked"


def _blocked(entries: Iterable[str]) -> Iterator[tuple[int, int]]:
    for entry in entries:
        if entry == DEFAULT:
            yield from map(_span, BLOCKED_BY_DEFAULT)
        else:
            yield _span(entry)


def _span(entry: str) -> tuple[int, int]:
    first, dash, last = entry.partition("-")
    try:
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            raise ValueError
        low, high = int(first), int(last or first)
        if not 0 <= low <= high <= LAST:
            raise ValueError
    except ValueError:
        raise ValueError(f"{entry!r} is not a port or a range of ports such as 8000-8999") from None
    return low, high
