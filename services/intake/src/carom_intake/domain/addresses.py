"""Where a request comes from: its peer, or what trusted proxies say of it in `X-Forwarded-For`. Pure."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
REMEMBERED = 1024
"""Of each list of networks."""


class Networks:
    """Some networks. The same few addresses are asked about for every request: what was found is remembered."""

    __slots__ = ("_networks", "hold")

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)
        self.hold = lru_cache(maxsize=REMEMBERED)(self._hold)
        """Whether an address is in one of them; None is in none."""

    def __bool__(self) -> bool:
        return bool(self._networks)

    def _hold(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


NOWHERE = Networks()


def parse_networks(entries: Iterable[str]) -> Networks:
    """CIDRs or single addresses; raises ValueError that names the one which is none."""
    networks: list[Network] = []
    for entry in entries:
        try:
            networks.append(ip_network(entry))
        except ValueError as error:
            raise ValueError(f"{entry[:60]!r} is no CIDR such as 10.0.0.0/8: {error}") from None
    return Networks(networks)


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """An address, that of IPv4 in IPv6 (`::ffff:a.b.c.d`) as IPv4; None when it is none."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Networks) -> Address | None:
    """Who made the request: the last address of the way that is no trusted proxy; None where one says nonsense.

    Only what a trusted proxy appended is believed: who comes first in the field may be anybody's invention.
    """
    address = parse_address(peer)
    if not trusted.hold(address):
        return address
    for entry in reversed(",".join(forwarded_for).split(",") if forwarded_for else ()):
        address = parse_address(entry)
        if not trusted.hold(address):
            return address
    return address
