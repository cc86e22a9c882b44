"""`GET /openapi.json` and `GET /docs`: the API about itself, to anybody."""

import base64
import hashlib

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carom_intake.openapi.document import document_bytes
from carom_intake.openapi.page import STYLE, page

_STYLE = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_DOCS_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class ContractRoutes:
    """Shows the contract. It says nothing of any job, so it needs no key."""

    def routes(self) -> list[Route]:
        return [
            Route("/openapi.json", self.show_document, methods=["GET"]),
            Route("/docs", self.show_page, methods=["GET"]),
        ]

    async def show_document(self, _: Request) -> Response:
        return Response(document_bytes(), media_type="application/json")

    async def show_page(self, _: Request) -> Response:
        return Response(page(), headers=_DOCS_HEADERS, media_type="text/html")
