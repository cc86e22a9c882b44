"""`GET /api/keys/callback`: what a tenant's receivers verify signatures with."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_common.signing import SigningKeys
from carom_intake.answers import json_answer
from carom_intake.auth import require
from carom_intake.domain.keys import Scope
from carom_intake.reading import refuse_parameters


class SigningKeyRoutes:
    """Publishes public keys. An HMAC secret verifies and forges alike, so that it is never shown."""

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys

    def routes(self) -> list[Route]:
        return [Route("/api/keys/callback", self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        """The public keys of the caller's tenant; none where it signs with HMAC alone, or not at all."""
        caller = require(request, Scope.JOBS_READ)
        refuse_parameters(request)
        keys = self._keys.of(caller.tenant)
        shown: list[dict[str, Any]] = [
            {"signature": "v1a", "algorithm": "ed25519", "key": key} for key in (keys.public if keys else ())
        ]
        return json_answer({"keys": shown}, headers={"Cache-Control": "private, max-age=60"})
