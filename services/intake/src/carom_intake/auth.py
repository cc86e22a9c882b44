"""Who calls, and whether they may: `caller = require(request, Scope.JOBS_READ)`, before the body is read."""

from collections.abc import Callable
from typing import NamedTuple

from starlette.requests import Request

from carom_common.contracts.message import DEFAULT_TENANT
from carom_common.telemetry import metrics
from carom_intake.domain.keys import ALL_SCOPES, Refusal, Scope
from carom_intake.keyring import KeyRing
from carom_intake.problems import HttpProblem

_DETAIL = "this needs a valid API key: Authorization: Bearer carom_<id>_<secret>"


class Caller(NamedTuple):
    """On whose behalf a request is made."""

    tenant: str
    scopes: frozenset[Scope]
    key_id: str

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes


ANYONE = Caller(DEFAULT_TENANT, ALL_SCOPES, "")
"""Every caller, where keys are off."""

Authenticate = Callable[[Request], Caller]


def no_keys(_: Request) -> Caller:
    return ANYONE


def by_keys(ring: KeyRing) -> Authenticate:
    """Takes whoever has a key of the ring; all others get one and the same 401."""

    def authenticate(request: Request) -> Caller:
        found = ring.verify(request.headers.getlist("authorization"))
        if isinstance(found, Refusal):
            metrics.auth_failures.labels(found).inc()
            raise HttpProblem(401, _DETAIL, headers={"WWW-Authenticate": "Bearer"})
        return Caller(found.tenant, found.granted, found.id)

    return authenticate


def caller_of(request: Request) -> Caller:
    """The caller, or 401; `app.state.authenticate` says how it is found."""
    authenticate: Authenticate = request.app.state.authenticate
    return authenticate(request)


def require(request: Request, scope: Scope) -> Caller:
    """The caller, who has this scope; else 401, or 403 that names it."""
    caller = caller_of(request)
    if not caller.may(scope):
        metrics.auth_failures.labels("scope").inc()
        raise HttpProblem(403, f"this needs a key with the scope {scope}")
    return caller
