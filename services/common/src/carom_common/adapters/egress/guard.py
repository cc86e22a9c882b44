"""The address policy at two places: after a name is resolved, and right before a connection is made.

Only the second sees IP literals, and only it is the guarantee. It is `open_socket` where addresses race or TLS is
spoken, `WatchedConnector._straight` where neither is so, and `Tunnel.open` with an egress proxy. The first drops
refused addresses from a mixed answer and keeps a refusal from being lost among the errors of several attempts, which
aiohappyeyeballs joins into a text.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from carom_common.adapters.egress.errors import AddressRefused
from carom_common.adapters.egress.resolver import PatientResolver
from carom_common.adapters.egress.stopwatch import connecting
from carom_common.domain.address_policy import AddressPolicy

# The socket factory is not told the host. It runs in the caller's context or a copy of it (the tasks of a race between
# addresses), never in one shared between calls; the resolver, whose task is shared, asks the policy by name instead.
_host_allowed: ContextVar[bool] = ContextVar("carom_egress_host_allowed", default=False)


@contextmanager
def allowed_host() -> Iterator[None]:
    """Connections opened inside go to a host whose name the operator allows."""
    token = _host_allowed.set(True)
    try:
        yield
    finally:
        _host_allowed.reset(token)


class Guard(AbstractResolver):
    """Resolver and socket factory of the egress connector."""

    def __init__(self, policy: AddressPolicy, resolver: AbstractResolver | None = None) -> None:
        self._policy = policy
        self._resolver = resolver or PatientResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            found = await self._resolver.resolve(host, port, family)
        except UnicodeError as error:  # a label of more than 63 characters does not get as far as DNS
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
        rule = self._policy.host_rule(host)
        if rule == "deny":
            raise AddressRefused(f"{host} is denied by configuration")
        allowed: list[ResolveResult] = []
        why = f"{host} has no address"
        for result in found:
            refusal = self._policy.refusal(result["host"], host_allowed=rule == "allow")
            if refusal is None:
                allowed.append(result)
            else:
                why = refusal
        if not allowed:
            raise AddressRefused(why)
        return allowed

    async def close(self) -> None:
        await self._resolver.close()

    def refusal(self, address: str) -> str | None:
        """Why the call under way must not connect to the address; None if it may."""
        return self._policy.refusal(address, host_allowed=_host_allowed.get())

    def open_socket(self, info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if (why := self.refusal(str(address[0]))) is not None:
            raise AddressRefused(why)
        opened = socket.socket(family, kind, protocol)
        if (watch := connecting.get()) is not None:
            watch.opens(opened)
        return opened
