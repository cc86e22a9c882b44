"""Small HTTP requests to our own services; a proxy of the environment is never asked."""

import json
import urllib.error
import urllib.request
from typing import Any

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def status_of(url: str, seconds: float = 2) -> int | None:
    """The status code of a GET, None when nobody answers."""
    try:
        with _opener.open(url, timeout=seconds) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None


def call(url: str, body: Any = None, seconds: float = 10) -> Any:
    """GET, or POST when there is a body; gives the decoded JSON of an answer below 400."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - our own URL
    with _opener.open(request, timeout=seconds) as response:
        return json.load(response)
