"""How an operation is written down: as data, from which its OpenAPI object is built."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from carom_intake.domain.keys import Scope

JSON, PROBLEM = "application/json", "application/problem+json"

Schema = dict[str, Any]

REASONS = {
    400: "Something in the request is not valid; `errors` lists every problem with its place.",
    401: "No valid API key came with the request.",
    403: "The key has not the scope that this needs.",
    404: "There is no such thing, or it is another tenant's.",
    406: "None of the media types that the request accepts can be given.",
    409: "The request does not fit the state that the job is in.",
    412: "The precondition of the request does not hold.",
    408: "The body was not complete in time.",
    413: "The body, or the payload in it, is too large.",
    415: "The body is not said to be `application/json`.",
    422: "The idempotency key was used with another body.",
    429: "The key makes too many requests (`rate-limited`), or a quota of its tenant is used up (`quota-jobs`, "
    "`quota-bytes`).",
    503: "Something that this needs is away. Whether the request took effect is unknown.",
}
"""What an answer with a problem means, by its status."""

_RATE_LIMIT = ("RateLimit-Policy", "RateLimit")

_REQUEST_ID = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
_PROBLEM_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}


class Parameter(NamedTuple):
    """One parameter in the query, the path or a header."""

    name: str
    description: str
    schema: Schema
    where: str = "query"

    def document(self) -> dict[str, Any]:
        found = {"name": self.name, "in": self.where, "description": self.description, "schema": self.schema}
        return found | ({"required": True} if self.where == "path" else {})


class Answer(NamedTuple):
    """An answer that is no problem; without a schema it has no body."""

    description: str
    schema: Schema | None = None
    example: Any = None
    media: str = JSON
    headers: Mapping[str, Schema] = {}
    links: Mapping[str, Any] = {}

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = {"description": self.description, "headers": _REQUEST_ID | dict(self.headers)}
        if self.schema is not None:
            content: dict[str, Any] = {"schema": self.schema}
            if self.example is not None:
                content["examples"] = {"answer": {"value": self.example}}
            found["content"] = {self.media: content}
        if self.links:
            found["links"] = dict(self.links)
        return found


class Body(NamedTuple):
    """A request body of JSON, with examples by name, each with its summary; a test sends every one of them."""

    schema: Schema
    examples: Mapping[str, tuple[str, Any]]
    required: bool = True

    def document(self) -> dict[str, Any]:
        examples = {name: {"summary": summary, "value": value} for name, (summary, value) in self.examples.items()}
        return {"required": self.required, "content": {JSON: {"schema": self.schema, "examples": examples}}}


class Operation(NamedTuple):
    """What one method at one path does. Without a scope nobody needs a key; `problems` are the statuses of errors."""

    method: str
    path: str
    id: str
    tag: str
    summary: str
    description: str
    scope: Scope | None
    answers: Mapping[int, Answer]
    problems: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None

    def document(self) -> dict[str, Any]:
        statuses = {*self.problems, *((401, 403, 429, 503) if self.scope else ())}
        needs = f"\n\nNeeds the scope `{self.scope}`." if self.scope else ""
        found: dict[str, Any] = {
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.description + needs,
            "security": [{"key": []}] if self.scope else [],
        }
        if self.parameters:
            found["parameters"] = [parameter.document() for parameter in self.parameters]
        if self.body:
            found["requestBody"] = self.body.document()
        answers = {str(status): answer.document() for status, answer in self.answers.items()}
        found["responses"] = answers | {str(status): _problem(status) for status in sorted(statuses)}
        return found


def _problem(status: int) -> dict[str, Any]:
    headers: dict[str, Any] = dict(_REQUEST_ID)
    if name := _PROBLEM_HEADERS.get(status):
        headers[name] = {"$ref": f"#/components/headers/{name.replace('-', '')}"}
    if status == 429:
        headers |= {name: {"$ref": f"#/components/headers/{name.replace('-', '')}"} for name in _RATE_LIMIT}
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": REASONS[status], "headers": headers, "content": content}
