"""Which addresses an outgoing call may reach: the rules against server-side request forgery.

Everything that is not global unicast is refused unless the operator opened it. The tables follow IANA's special-purpose
registries (RFC 6890); `ipaddress.is_global` is not used, because it passes NAT64, 6to4 and multicast.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_METADATA = "a cloud metadata address"
_SPECIAL: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("169.254.169.254/32", _METADATA),
        ("169.254.170.2/32", _METADATA),  # AWS: a task's credentials
        ("169.254.170.23/32", _METADATA),  # AWS: a pod's credentials
        ("169.254.0.23/32", _METADATA),  # Tencent
        ("100.100.100.200/32", _METADATA),  # Alibaba
        ("168.63.129.16/32", _METADATA),  # Azure's WireServer, in public space
        ("192.0.0.192/32", _METADATA),  # Oracle
        ("fd00:ec2::254/128", _METADATA),  # AWS
        ("fd00:ec2::23/128", _METADATA),
        ("fd20:ce::254/128", _METADATA),  # Google
        ("0.0.0.0/32", "an unspecified address"),
        ("0.0.0.0/8", 'an address of "this network"'),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a carrier-grade NAT address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "an address for protocol assignments"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "a broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("::/96", "an IPv4-compatible address"),
        ("64:ff9b::/96", "a NAT64 address"),
        ("64:ff9b:1::/48", "a NAT64 address"),
        ("100::/64", "a discard address"),
        ("2001::/32", "a Teredo address"),
        ("2001:2::/48", "a benchmarking address"),
        ("2001:db8::/32", "a documentation address"),
        ("2001::/23", "an address for protocol assignments"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "a documentation address"),
        ("fc00::/7", "a unique local address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # RFC 4291: nothing else is assigned as global unicast
_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))  # RFC 6052; RFC 8215, with a prefix of /96 in it
_HOST_NAME = re.compile(
    r"(\*\.)?(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class HostRules:
    """A list of hosts and networks, as the operator wrote it."""

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "HostRules":
        networks: list[Network] = []
        names: set[str] = set()
        suffixes: list[str] = []
        for entry in entries:
            parsed = _parse_entry(entry)
            if not isinstance(parsed, str):
                networks.append(parsed)
            elif parsed.startswith("*."):
                suffixes.append(parsed[1:])
            else:
                names.add(parsed)
        return cls(tuple(networks), frozenset(names), tuple(suffixes))

    def has_address(self, *addresses: Address) -> bool:
        return any(address in network for network in self.networks for address in addresses)

    def names_address(self, address: Address) -> bool:
        """Whether an entry is this very address, not a network round it."""
        return any(network.num_addresses == 1 and address in network for network in self.networks)

    def has_host(self, host: str) -> bool:
        return host in self.names or host.endswith(self.suffixes)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What the operator opened and closed, on top of the built-in table. Deny wins over allow, allow over the table."""

    allow: HostRules = HostRules()
    deny: HostRules = HostRules()

    @classmethod
    def parse(cls, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> "AddressPolicy":
        """Each entry is a CIDR, an address, a host name, or `*.name` for every name below it. A bad one: ValueError."""
        return cls(HostRules.parse(allow), HostRules.parse(deny))

    def host_rule(self, host: str) -> Literal["allow", "deny"] | None:
        """What the host-name entries say; names compare without case and trailing dots."""
        host = host.lower().rstrip(".")
        if self.deny.has_host(host):
            return "deny"
        return "allow" if self.allow.has_host(host) else None

    def refusal(self, address: str, *, host_allowed: bool = False) -> str | None:
        """Why the address must not be connected to, such as "127.0.0.1 is a loopback address"; None if it may be.

        `host_allowed` opens every address of a host whose name is allowed, except those in a deny CIDR. Neither a name
        nor a network opens a cloud metadata address inside it, which gives out credentials: only its own entry does.
        """
        if "%" in address:
            return f"{address} is a scoped address"
        try:
            outer = ip_address(address)
        except ValueError:
            return f"{address} is not an IP address"
        inner = _embedded(outer)
        if self.deny.has_address(outer, *inner):
            return f"{address} is denied by configuration"
        judged = inner[0] if inner and outer in _MAPPED else outer
        for end in (judged, *inner):
            if _kind(end) == _METADATA and not self.allow.names_address(end):
                return f"{address} is {_METADATA}" if end == judged else f"{address} leads to {end}, {_METADATA}"
        if host_allowed:
            return None
        if not self.allow.has_address(outer, judged):
            kind = _kind(judged)
            return kind and f"{address} is {kind}"
        if _is_nat64(outer):
            # Opening the prefix, as clusters without IPv4 must, does not open private IPv4 behind it (RFC 6052, 3.1).
            return self.refusal(str(inner[0]))
        return None


def _kind(address: Address) -> str | None:
    for network, kind in _SPECIAL:
        if address in network:
            return kind
    return None if address.version == 4 or address in _GLOBAL_UNICAST else "a reserved address"


def _embedded(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses a packet to this IPv6 address may end at."""
    if isinstance(address, IPv4Address):
        return ()
    if address in _MAPPED or address in _COMPATIBLE or _is_nat64(address):
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    return address.teredo or ()


def _is_nat64(address: Address) -> bool:
    return any(address in network for network in _NAT64)


def _parse_entry(entry: str) -> Network | str:
    text = entry.strip().lower()
    if "/" in text or ":" in text:
        try:
            network = ip_network(text)
        except ValueError as error:
            raise ValueError(f"{entry!r} is not a CIDR, an address or a host name: {error}") from None
        if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
            return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
        return network
    name = text.rstrip(".")
    try:
        return ip_network(name)
    except ValueError:
        pass
    # A name whose last label is a number would be read as an IPv4 address by some clients (WHATWG URL, 3.5).
    if not _HOST_NAME.fullmatch(name) or _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]):
        raise ValueError(f"{entry!r} is not a CIDR, an address or a host name")
    return name
