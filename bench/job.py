"""The job that everything is measured with: the one of the peers' run.py."""

from typing import Any

API_PATH = "/api/jobs"
_PAYLOAD = {"hello": "world", "pad": "x" * 200}


def job(target: str, receiver: str, number: int | None = None, **fields: Any) -> dict[str, Any]:
    """`number` appears in both URLs, so that the two ends know the job."""
    query = "" if number is None else f"?n={number}"
    return {
        "targetUrl": f"{target}/hook{query}",
        "method": "POST",
        "headers": {"Content-Type": "application/json"},
        "payload": _PAYLOAD,
        "callbackUrl": f"{receiver}/cb{query}",
        "maxRetries": 3,
        "retryDelay": 1000,
        **fields,
    }


def number_of(path: str) -> int | None:
    """The job's number in a request's path."""
    _, mark, number = path.partition("?n=")
    return int(number) if mark else None
