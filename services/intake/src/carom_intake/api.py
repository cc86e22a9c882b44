"""The API as an ASGI application: routes, and errors as problems."""

import re
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp

from carom_common.adapters.store.batch import StoreUnavailable
from carom_common.contracts.sealing import Unsealable
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_common.telemetry.tracing import Tracer
from carom_intake.admission import Admission
from carom_intake.auth import Authenticate
from carom_intake.middleware import RequestIds, RequestSpans
from carom_intake.problems import HttpProblem, problem_response, unavailable
from carom_intake.rates import Rates

log = get_logger()


def create_app(
    routes: Sequence[BaseRoute], authenticate: Authenticate, rates: Rates | None = None, tracer: Tracer | None = None
) -> ASGIApp:
    """The application; `authenticate` finds the caller of a request, `rates` says how many it may make."""
    _keep_apart(routes)
    handlers = {
        HttpProblem: _on_problem,
        HTTPException: _on_http_exception,
        StoreUnavailable: _on_store_away,
        Unsealable: _on_sealed,
        Exception: _on_error,
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    app.state.authenticate = authenticate
    whole = RequestIds(Admission(app, authenticate, rates) if rates else app)
    return whole if tracer is None else RequestSpans(whole, tracer)


def _keep_apart(routes: Sequence[BaseRoute]) -> None:
    """A path with parameters never takes a fixed one: `GET /api/jobs/batch` is a 405, not a job that is not there."""
    known = [route for route in routes if isinstance(route, Route)]
    fixed = "|".join(re.escape(route.path) for route in known if not route.param_convertors)
    for route in known:
        if route.param_convertors:
            route.path_regex = re.compile(rf"(?!(?:{fixed})\Z){route.path_regex.pattern}")


async def _on_error(request: Request, _: Exception) -> Response:
    """What nobody expected. Starlette raises it again, and RequestIds logs it."""
    return problem_response(HttpProblem(500, "something went wrong inside Carom; the log has the details"), request)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HttpProblem)
    if request.method == "POST":
        metrics.submissions_refused.labels(str(error.status)).inc()
    request_id = request.scope["request_id"]
    log.info("request_refused", request_id=request_id, path=request.url.path, status=error.status)
    return problem_response(error, request)


async def _on_store_away(request: Request, _: Exception) -> Response:
    return await _on_problem(request, unavailable("the job store is away"))


async def _on_sealed(request: Request, error: Exception) -> Response:
    """Jobs outlive keys that were taken out too early: whoever has the key puts it back."""
    metrics.unsealable.inc()
    log.error("record_sealed", request_id=request.scope["request_id"], reason=str(error))
    problem = unavailable(f"the job is kept encrypted, and cannot be opened: {error}")
    problem.reason = "encryption-key"
    return await _on_problem(request, problem)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code != 405:
        return await _on_problem(request, HttpProblem(error.status_code, "there is nothing at this path"))
    allowed = ", ".join(sorted(_methods_at(request)))
    detail = f"{request.method} is not allowed here; allowed: {allowed}"
    return await _on_problem(request, HttpProblem(405, detail, headers={"Allow": allowed}))


def _methods_at(request: Request) -> set[str]:
    """What this path takes; a path may be shared by several routes, of which Starlette names one."""
    matching = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in matching if isinstance(route, Route) for method in route.methods or ()}
