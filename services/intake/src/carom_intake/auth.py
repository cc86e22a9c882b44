"""Who calls, and whether they may: `caller = require(request, Scope.JOBS_READ)`, before the body is read."""

from collections.abc import Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.types import Scope as Connection

from carom_common.contracts.message import DEFAULT_TENANT
from carom_common.telemetry import metrics
from carom_intake.domain.addresses import NOWHERE, Address, Networks, client_address
from carom_intake.domain.keys import ALL_SCOPES, Key, KeyRate, Refusal, Scope
from carom_intake.domain.tokens import BEARER, Bearer
from carom_intake.keyring import KeyRing, KeysUnknown
from carom_intake.oidc import Oidc
from carom_intake.problems import HttpProblem, unavailable

_DETAIL = "this needs a valid API key: Authorization: Bearer carom_<id>_<secret>"
AUTHENTICATED = "carom.caller"
"""Where the ASGI scope has the caller that was found before the routes, or why there is none."""


class Caller(NamedTuple):
    """On whose behalf a request is made."""

    tenant: str
    scopes: frozenset[Scope]
    key_id: str
    rate: KeyRate | None = None
    """The key's own; None: that of the settings."""

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes


ANYONE = Caller(DEFAULT_TENANT, ALL_SCOPES, "")
"""Every caller, where keys are off."""

Authenticate = Callable[[Connection], Caller]
"""From the ASGI scope, not from Starlette's request: it is asked for every request."""


class Origins:
    """Where requests come from; `trusted` are the proxies whose `X-Forwarded-For` is believed."""

    def __init__(self, trusted: Networks = NOWHERE) -> None:
        self._trusted = trusted

    def of(self, connection: Connection) -> Address | None:
        """None where nobody can say."""
        peer = connection["client"][0] if connection.get("client") else ""
        forwarded = header_values(connection, b"x-forwarded-for") if self._trusted else []
        return client_address(peer, forwarded, self._trusted)


def header_values(connection: Connection, name: bytes) -> list[str]:
    """All values of a header; `name` in lower case, as ASGI has them."""
    return [value.decode("latin-1") for given, value in connection["headers"] if given == name]


def no_keys(_: Connection) -> Caller:
    return ANYONE


def by_keys(ring: KeyRing, origins: Origins, oidc: Oidc | None = None) -> Authenticate:
    """Takes whoever has a key of the ring, or a token of the provider; all others get one and the same 401."""

    def prove(connection: Connection) -> Key | Bearer | Refusal:
        given = header_values(connection, b"authorization")
        if oidc and len(given) == 1 and (token := BEARER.fullmatch(given[0])):
            return oidc.verify(token[1])
        return ring.verify(given, lambda: origins.of(connection))

    def authenticate(connection: Connection) -> Caller:
        try:
            found = prove(connection)
        except KeysUnknown:
            raise unavailable("what proves keys and tokens could not be asked for yet") from None
        if isinstance(found, Refusal):
            metrics.auth_failures.labels(found).inc()
            raise HttpProblem(401, _DETAIL, headers={"WWW-Authenticate": "Bearer"})
        if isinstance(found, Bearer):
            return Caller(found.tenant, found.scopes, found.id)
        return Caller(found.tenant, found.granted, found.id, found.rate)

    return authenticate


def caller_of(request: Request) -> Caller:
    """The caller, or 401; `app.authenticate` says how it is found."""
    # Once: who asks again later, such as a stream that goes on, wants to know anew.
    known: Caller | HttpProblem | None = request.scope.pop(AUTHENTICATED, None)
    if isinstance(known, HttpProblem):
        raise known
    if known is not None:
        return known
    authenticate: Authenticate = request.app.authenticate
    return authenticate(request.scope)


def require(request: Request, scope: Scope) -> Caller:
    """The caller, who has this scope; else 401, or 403 that names it."""
    caller = caller_of(request)
    if not caller.may(scope):
        metrics.auth_failures.labels("scope").inc()
        raise HttpProblem(403, f"this needs a key with the scope {scope}")
    return caller
