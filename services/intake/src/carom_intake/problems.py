"""Errors as `application/problem+json` (RFC 9457), each naming the request that it answers."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from carom_common.telemetry import metrics
from carom_intake.domain.checks import Problem

RETRY_SECONDS = 2


class HttpProblem(Exception):
    """An answer other than success; `errors` lists what is wrong with the body, `reason` is a code to act upon."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.reason = reason


def unavailable(what: str) -> HttpProblem:
    """503: something that accepting a job needs is away. Whether the job was kept is then unknown."""
    detail = f"{what}; try again. Whether this request took effect is unknown."
    return HttpProblem(503, detail, headers={"Retry-After": str(RETRY_SECONDS)})


def problem_document(problem: HttpProblem, request: Request) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "requestId": request.scope.get("request_id", ""),
    }
    if problem.reason:
        document["reason"] = problem.reason
    if problem.errors:
        document["errors"] = [error._asdict() for error in problem.errors]
    return document


def problem_response(problem: HttpProblem, request: Request) -> Response:
    """The answer. It counts here: whoever gives it, a POST that gets one was not accepted."""
    if request.method == "POST":
        metrics.submissions_refused.labels(str(problem.status)).inc()
    body = msgspec.json.encode(problem_document(problem, request))
    return Response(body, problem.status, dict(problem.headers), media_type="application/problem+json")
