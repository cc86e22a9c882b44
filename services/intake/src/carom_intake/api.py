"""The API as an ASGI application: routes, and errors as problems."""

import re
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

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
    routes: Sequence[Route], authenticate: Authenticate, rates: Rates | None = None, tracer: Tracer | None = None
) -> ASGIApp:
    """The application; `authenticate` finds the caller of a request, `rates` says how many it may make."""
    app = Api(routes, authenticate)
    whole = RequestIds(Admission(app, authenticate, rates) if rates else app)
    return whole if tracer is None else RequestSpans(whole, tracer)


class Api:
    """Answers each request by its route, and with a problem where that raises.

    In place of the `Starlette` class, whose layers of routing and of error handling cost more than validating a job.
    """

    def __init__(self, routes: Sequence[Route], authenticate: Authenticate) -> None:
        _keep_apart(routes)
        self.authenticate = authenticate
        self._routes = routes
        self._fixed = {
            (method, route.path): route
            for route in routes
            if not route.param_convertors
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        request = Request(scope, receive, send)
        try:
            response: Response = await self._route(scope).endpoint(request)
        except Exception as error:
            await _answer_to(error, request)(scope, receive, send)
            if not isinstance(error, _EXPECTED):
                raise  # RequestIds logs it
            return
        await response(scope, receive, send)

    def _route(self, scope: Scope) -> Route:
        """Where the request goes, as the scope says from then on; raises HttpProblem."""
        found = self._fixed.get((scope["method"], scope["path"]))
        if found is None:
            found = self._search(scope)
        scope["route"] = found
        return found

    def _search(self, scope: Scope) -> Route:
        allowed: set[str] = set()
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                return route
            if match is Match.PARTIAL:  # a path may be shared by several routes
                allowed |= route.methods or set()
        if not allowed:
            raise HttpProblem(404, "there is nothing at this path")
        methods = ", ".join(sorted(allowed))
        detail = f"{scope['method']} is not allowed here; allowed: {methods}"
        raise HttpProblem(405, detail, headers={"Allow": methods})


def _keep_apart(routes: Sequence[Route]) -> None:
    """A path with parameters never takes a fixed one: `GET /api/jobs/batch` is a 405, not a job that is not there."""
    fixed = "|".join(re.escape(route.path) for route in routes if not route.param_convertors)
    for route in routes:
        if route.param_convertors:
            route.path_regex = re.compile(rf"(?!(?:{fixed})\Z){route.path_regex.pattern}")


_EXPECTED = (HttpProblem, StoreUnavailable, Unsealable)


def _answer_to(error: Exception, request: Request) -> Response:
    match error:
        case HttpProblem():
            return _refusal(error, request)
        case StoreUnavailable():
            return _refusal(unavailable("the job store is away"), request)
        case Unsealable():  # jobs outlive keys that were taken out too early: whoever has the key puts it back
            metrics.unsealable.inc()
            log.error("record_sealed", request_id=request.scope["request_id"], reason=str(error))
            problem = unavailable(f"the job is kept encrypted, and cannot be opened: {error}")
            problem.reason = "encryption-key"
            return _refusal(problem, request)
        case _:
            unknown = HttpProblem(500, "something went wrong inside Carom; the log has the details")
            return problem_response(unknown, request)


def _refusal(problem: HttpProblem, request: Request) -> Response:
    request_id = request.scope["request_id"]
    log.info("request_refused", request_id=request_id, path=request.url.path, status=problem.status)
    return problem_response(problem, request)
