"""What schemathesis cannot know from the document: which cursors exist, what time it is, what two fields mean together.

Loaded by schemathesis itself (tests/integration/test_contract.py). A valid URL always becomes one on loopback. Only
requests that are meant to be valid are mended otherwise; those meant to be refused are sent as they are.
"""

import os
import uuid
from typing import Any

import schemathesis

from carom_common.domain.clock import now_ms, parse_rfc3339, rfc3339
from carom_intake.domain.checks import url_problems

TARGET = os.environ.get("CONTRACT_TARGET", "http://127.0.0.1:9/")
MINUTE = 60_000


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: Any) -> None:
    """Mends a generated request just before it is sent."""
    positive = case.meta is None or case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE
    if positive:
        case.body = _whole(case.body)
    for job in _jobs_in(case.body):
        _to_loopback(job, "targetUrl")
        _to_loopback(job, "callbackUrl")
        if isinstance(job.get("callback"), dict):
            _to_loopback(job["callback"], "url")
        if positive:
            _mend_job(job)
    if positive:
        if isinstance(case.body, dict) and "atomic" in case.body:
            case.body["atomic"] = False  # the document lets a batch have jobs that are not valid
        if case.headers.get("Idempotency-Key"):
            case.headers["Idempotency-Key"] = str(uuid.uuid4())
        _mend_position(case.query, "lastEventId")
        _mend_position(case.headers, "Last-Event-ID")
        _mend_query(case.query)
        if "host" in case.path_parameters:
            case.path_parameters["host"] = "example.test:8080"
        if case.path.endswith(("/jobs/cancel", "/redrive")) and isinstance(case.body, dict):
            _mend_filter(case.body)
        if isinstance(case.body, dict) and "scopes" in case.body:
            _mend_key(case.body)
        if isinstance(case.body, dict) and isinstance(case.body.get("host"), str):
            case.body["host"] = "example.test"


def _jobs_in(body: Any) -> list[dict[str, Any]]:
    if not isinstance(body, dict):
        return []
    listed = body.get("jobs")
    return [job for job in (listed if isinstance(listed, list) else [body]) if isinstance(job, dict)]


def _whole(value: Any) -> Any:
    """10.0 as 10: the same integer to JSON Schema, but not to Carom."""
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _to_loopback(holder: dict[str, Any], name: str) -> None:
    if isinstance(holder.get(name), str) and not [*url_problems("", holder[name])]:
        holder[name] = TARGET


def _mend_job(job: dict[str, Any]) -> None:
    """URLs that only the pattern takes; header names that differ in case; times that are over."""
    for holder in (job, job.get("callback")):
        if isinstance(holder, dict):
            for name in ("targetUrl", "callbackUrl", "url"):
                if isinstance(holder.get(name), str):
                    holder[name] = TARGET
            if isinstance(holder.get("headers"), dict):
                holder["headers"] = {name.lower(): value for name, value in holder["headers"].items()}
    if isinstance(job.get("runAt"), str):
        job["runAt"] = rfc3339(now_ms() + MINUTE)
    if isinstance(job.get("delay"), int):
        job["delay"] = min(job["delay"], MINUTE)
    if isinstance(job.get("expiresAt"), str):
        job["expiresAt"] = rfc3339(now_ms() + 2 * MINUTE)
    if isinstance(job.get("ttl"), int):
        job["ttl"] = max(job["ttl"], 2 * MINUTE)


def _mend_query(query: dict[str, Any]) -> None:
    query.pop("cursor", None)
    if isinstance(query.get("label"), list):
        query["label"] = list({label.partition("=")[0]: label for label in query["label"]}.values())
    if "createdBefore" in query and "createdAfter" in query:
        before, after = parse_rfc3339(query["createdBefore"]), parse_rfc3339(query["createdAfter"])
        if before <= after:
            del query["createdBefore"]


def _mend_position(holder: Any, name: str) -> None:
    """Two numbers of 64 bits, which no pattern says."""
    if holder.get(name):
        holder[name] = "-".join(part[:19] for part in str(holder[name]).split("-"))


def _mend_key(body: dict[str, Any]) -> None:
    """CIDRs that only the pattern takes; a time that is over; an id that is taken; another tenant."""
    if isinstance(body.get("cidrs"), list):
        body["cidrs"] = ["192.0.2.0/24"] * min(len(body["cidrs"]), 64)
    if isinstance(body.get("expiresAt"), str):
        body["expiresAt"] = rfc3339(now_ms() + MINUTE)
    body.pop("id", None)
    body.pop("tenant", None)


def _mend_filter(body: dict[str, Any]) -> None:
    """A filter that is not empty, and whose times follow each other."""
    if body.get("createdAfter"):
        body["createdAfter"] = "2026-01-01T00:00:00Z"
    body["createdBefore"] = rfc3339(now_ms())
