"""`/api/keys`: API keys made, listed and taken away again. An admin has those of its own tenant in hand.

Admins of `CAROM_OPERATOR_TENANT` have those of all tenants: they are who installed Carom.
"""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.domain.clock import now_ms
from carom_intake.answers import json_answer
from carom_intake.audit import Auditor
from carom_intake.auth import Caller, require
from carom_intake.domain.audit import AuditAct
from carom_intake.domain.key_making import (
    MAX_KEYS,
    MAX_KEYS_OF_TENANT,
    beyond,
    key_document,
    made_key,
    parse_key_asked,
)
from carom_intake.domain.keys import Key, Scope, StoredKey, encode_key, new_secret, parse_stored, token_of
from carom_intake.domain.operating import parse_page
from carom_intake.domain.submission import InvalidSubmission
from carom_intake.keyring import KeyRing
from carom_intake.problems import HttpProblem
from carom_intake.reading import read_json_body, refuse_parameters
from carom_intake.tenancy import Tenancy

MAX_BODY = 16_384
_SECRET = {"Cache-Control": "no-store"}


class KeyRoutes:
    """What is made or deleted counts at once in this replica, and within seconds in all others."""

    def __init__(self, ring: KeyRing, tenancy: Tenancy, audit: Auditor) -> None:
        self._ring = ring
        self._tenancy = tenancy
        self._audit = audit

    def routes(self) -> list[Route]:
        return [
            Route("/api/keys", self.make, methods=["POST"]),
            Route("/api/keys", self.list_all, methods=["GET"]),
            Route("/api/keys/{key_id}", self.show, methods=["GET"]),
            Route("/api/keys/{key_id}", self.delete, methods=["DELETE"]),
        ]

    async def make(self, request: Request) -> Response:
        """201 with the key and its token, which is told this once."""
        caller = require(request, Scope.ADMIN)
        refuse_parameters(request)
        body = await read_json_body(request, MAX_BODY)
        try:
            asked = parse_key_asked(body, datetime.now(UTC))
        except InvalidSubmission as error:
            raise HttpProblem(400, "the key is not valid", error.problems) from None
        tenant = self._tenancy.of(caller, asked.tenant)
        if missing := beyond(asked, caller.scopes):
            raise HttpProblem(403, f"nobody gives a scope that their own key has not: {', '.join(missing)}")
        secret = new_secret()
        key = made_key(asked, secret, tenant, now_ms(), caller.key_id)
        await self._check_room(tenant)
        if key.id in self._ring.of_file or await self._ring.store.add(key.id, encode_key(key)) == "exists":
            raise HttpProblem(409, f"there is a key with the id {key.id} already", reason="key-exists")
        self._audit.tell(request, caller, AuditAct.KEY_MADE, key.id, 1, f"tenant {tenant}: {', '.join(key.scopes)}")
        await self._ring.look()
        document = {"key": key_document(key), "token": token_of(key.id, secret)}
        return json_answer(document, 201, {"Location": f"/api/keys/{key.id}", **_SECRET})

    async def _check_room(self, tenant: str) -> None:
        stored = [parse_stored(entry) for entry in (await self._ring.store.all()).values()]
        of_tenant = sum(key is not None and key.tenant == tenant for key in stored)
        if len(stored) >= MAX_KEYS or of_tenant >= MAX_KEYS_OF_TENANT:
            detail = f"{MAX_KEYS_OF_TENANT} keys of a tenant and {MAX_KEYS} of all are kept; delete one"
            raise HttpProblem(409, detail, reason="too-many-keys")

    async def list_all(self, request: Request) -> Response:
        """Those of a tenant, from file and API, in the order of their ids."""
        caller = require(request, Scope.ADMIN)
        tenant, others = self._tenancy.asked(request, caller)
        try:
            limit, cursor = parse_page(others)
        except InvalidSubmission as error:
            raise HttpProblem(400, "the query is not valid", error.problems) from None
        keys = [key for key in (await self._all()).values() if key.tenant == tenant and key.id > cursor]
        shown = sorted(keys, key=lambda key: key.id)[: limit + 1]
        more = shown[limit - 1].id if len(shown) > limit else None
        return json_answer({"keys": list(map(key_document, shown[:limit])), "nextCursor": more})

    async def show(self, request: Request) -> Response:
        caller = require(request, Scope.ADMIN)
        refuse_parameters(request)
        return json_answer(key_document(await self._of(request, caller)))

    async def delete(self, request: Request) -> Response:
        """204: nobody gets in with it any more, here at once and anywhere within seconds."""
        caller = require(request, Scope.ADMIN)
        refuse_parameters(request)
        key = await self._of(request, caller)
        if not isinstance(key, StoredKey):
            raise HttpProblem(409, "the key is one of the file: take it out there", reason="key-in-file")
        await self._ring.store.drop(key.id)
        self._audit.tell(request, caller, AuditAct.KEY_DELETED, key.id, 1, f"tenant {key.tenant}")
        await self._ring.look()
        return Response(status_code=204)

    async def _of(self, request: Request, caller: Caller) -> Key:
        """The key in the path, or 404; another tenant's is no key."""
        key_id = request.path_params["key_id"]
        key = self._ring.of_file.get(key_id)
        if key is None and (entry := await self._ring.store.fetch(key_id)) is not None:
            key = parse_stored(entry)
        if key is None or not self._tenancy.manages(caller, key.tenant):
            raise HttpProblem(404, "no such key")
        return key

    async def _all(self) -> dict[str, Key]:
        stored = {key_id: parse_stored(entry) for key_id, entry in (await self._ring.store.all()).items()}
        return {key_id: key for key_id, key in stored.items() if key is not None} | dict(self._ring.of_file)
