"""What is sent to a target: the executor sends it, intake shows it again with the attempt. Pure."""

from collections.abc import Mapping

import msgspec

from carom_common.contracts.job import BODILESS_METHODS, Job
from carom_common.version import USER_AGENT

_loads_string = msgspec.json.Decoder(str).decode


def outgoing_headers(job: Job, job_id: str, attempt: int) -> dict[str, str]:
    """The job's own headers, and Carom's where the job does not set them. The transport adds Host and framing."""
    given = {name.lower() for name in job.headers}
    headers = dict(job.headers)
    if "content-type" not in given and _has_body(job):
        headers["Content-Type"] = "application/json"
    if "user-agent" not in given:
        headers["User-Agent"] = USER_AGENT
    if "idempotency-key" not in given:
        headers["Idempotency-Key"] = job_id
    headers["X-Carom-Job-Id"] = job_id
    headers["X-Carom-Attempt"] = str(attempt)
    return headers


def outgoing_body(job: Job) -> bytes | None:
    """The payload as JSON; a string under a content type that is not JSON is sent as that text. None: no body."""
    if not _has_body(job):
        return None
    payload = bytes(job.payload)
    content_type = _header(job.headers, "content-type")
    if content_type is not None and payload.startswith(b'"') and not is_json(content_type):
        return _loads_string(payload).encode()
    return payload


def is_json(content_type: str) -> bool:
    kind = content_type.split(";", 1)[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _has_body(job: Job) -> bool:
    return job.method not in BODILESS_METHODS and bytes(job.payload) != b"null"


def _header(headers: Mapping[str, str], wanted: str) -> str | None:
    return next((value for name, value in headers.items() if name.lower() == wanted), None)
