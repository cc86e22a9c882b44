"""The application around the routes: which one answers, and what becomes of what it raises."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.telemetry import metrics
from carom_intake.api import create_app
from carom_intake.auth import no_keys
from carom_intake.problems import HttpProblem


async def _here(_: Request) -> Response:
    return Response(b"here")


async def _named(request: Request) -> Response:
    return Response(request.path_params["name"])


async def _broken(_: Request) -> Response:
    raise ZeroDivisionError


async def _away(_: Request) -> Response:
    raise StoreUnavailable("nobody answers")


async def _wrong(_: Request) -> Response:
    raise HttpProblem(422, "not like this")


async def _half(_: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"
        raise ZeroDivisionError

    return StreamingResponse(pieces())


def _client() -> httpx.AsyncClient:
    routes = [
        Route("/things/{name}", _named, methods=["GET"]),
        Route("/things/all", _here, methods=["POST"]),
        Route("/things/{name}", _here, methods=["DELETE"]),
        Route("/broken", _broken, methods=["GET", "POST"]),
        Route("/away", _away, methods=["GET", "POST"]),
        Route("/wrong", _wrong, methods=["GET", "POST"]),
        Route("/half", _half, methods=["GET"]),
    ]
    transport = httpx.ASGITransport(create_app(routes, no_keys), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://carom")


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("POST", "/things/all", 200, None),
        ("GET", "/things/one", 200, None),
        ("HEAD", "/things/one", 200, None),
        ("DELETE", "/things/one", 200, None),
        ("GET", "/things/all", 405, "POST"),
        ("PUT", "/things/one", 405, "DELETE, GET, HEAD"),
        ("GET", "/things", 404, None),
        ("GET", "/things/all/", 404, None),
        ("GET", "//things/all", 404, None),
    ],
)
async def test_a_request_goes_to_the_route_of_its_method_and_path(
    method: str, path: str, status: int, allowed: str | None
) -> None:
    async with _client() as client:
        response = await client.request(method, path)
    assert (response.status_code, response.headers.get("allow")) == (status, allowed)
    if status != 200:
        assert response.headers["content-type"] == "application/problem+json"


async def test_what_nobody_expected_is_a_500_that_tells_nothing_and_a_line_in_the_log() -> None:
    with capture_logs() as logged:
        async with _client() as client:
            response = await client.get("/broken")
    problem = response.json()
    assert (response.status_code, problem["title"]) == (500, "Internal Server Error")
    assert problem["requestId"] == response.headers["x-request-id"]
    assert "ZeroDivisionError" not in response.text
    assert [(line["event"], line["path"]) for line in logged] == [("request_failed", "/broken")]


async def test_a_store_that_is_away_is_a_503_with_a_time() -> None:
    async with _client() as client:
        response = await client.get("/away")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")


@pytest.mark.parametrize(("path", "status"), [("/broken", 500), ("/away", 503), ("/wrong", 422), ("/nowhere", 404)])
async def test_a_post_that_is_not_accepted_counts_once_by_its_status(path: str, status: int) -> None:
    refused = metrics.submissions_refused.labels(str(status))
    before = refused.value
    async with _client() as client:
        assert (await client.get(path)).status_code == status
        assert refused.value == before
        assert (await client.post(path)).status_code == status
        assert refused.value == before + 1


async def test_an_answer_that_breaks_off_gets_no_second_one() -> None:
    with capture_logs() as logged:
        async with _client() as client:
            response = await client.get("/half")
    assert (response.status_code, response.content) == (200, b"half")
    assert [line["event"] for line in logged] == ["request_failed"]
