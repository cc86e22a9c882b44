"""What a target is sent, and what of it is shown again."""

from typing import Any

import pytest
from msgspec import Raw

from carom_common.contracts.job import Job
from carom_common.domain.outgoing import outgoing_body, outgoing_headers
from carom_common.domain.redaction import REDACTED, is_secret, redacted


def job(**fields: Any) -> Job:
    return Job("http://t.example/", None, **fields)


def test_json_goes_out_with_its_content_type() -> None:
    made = job(method="POST", payload=Raw(b'{"a": 1}'))
    headers = outgoing_headers(made, "job-1", 3)
    assert outgoing_body(made) == b'{"a": 1}'
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("carom/")
    assert headers["Idempotency-Key"] == "job-1"
    assert (headers["X-Carom-Job-Id"], headers["X-Carom-Attempt"]) == ("job-1", "3")


def test_the_jobs_own_headers_win() -> None:
    own = {"content-type": "text/plain", "user-agent": "me", "idempotency-key": "k"}
    made = job(method="PUT", payload=Raw(b'"caf\\u00e9"'), headers=own)
    headers = outgoing_headers(made, "job-1", 1)
    assert outgoing_body(made) == "café".encode()
    assert {name: headers[name] for name in own} == own
    assert "Content-Type" not in headers


def test_a_string_under_a_json_content_type_stays_json() -> None:
    made = job(method="POST", payload=Raw(b'"text"'), headers={"Content-Type": "application/json"})
    assert outgoing_body(made) == b'"text"'


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_get_and_head_have_no_body(method: str) -> None:
    made = job(method=method, payload=Raw(b"{}"))
    assert outgoing_body(made) is None
    assert "Content-Type" not in outgoing_headers(made, "job-1", 1)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_other_method_sends_the_payload(method: str) -> None:
    assert outgoing_body(job(method=method, payload=Raw(b"{}"))) == b"{}"


def test_a_null_payload_is_no_body() -> None:
    assert outgoing_body(job(method="POST")) is None
    assert "Content-Type" not in outgoing_headers(job(method="POST"), "job-1", 1)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "X-Authorization",
        "Cookie",
        "Set-Cookie",
        "X-Api-Key",
        "api-key",
        "ApiKey",
        "X-Auth-Token",
        "Private-Token",
        "X-Amz-Security-Token",
        "token",
        "CF-Access-Client-Secret",
        "Ocp-Apim-Subscription-Key",
        "X_Secret",
        "X-Auth",
        "X-Password",
        "X-CSRF-Token",
        "X-Session-Id",
    ],
)
def test_names_that_hold_secrets(name: str) -> None:
    assert is_secret(name)
    assert is_secret(name.upper())


@pytest.mark.parametrize(
    "name",
    ["Content-Type", "Idempotency-Key", "WWW-Authenticate", "X-Request-Id", "ETag", "Tokens-Left", "X-Carom-Job-Id"],
)
def test_names_that_hold_none(name: str) -> None:
    assert not is_secret(name)


def test_a_secret_keeps_its_name_and_place() -> None:
    shown = redacted({"A": "1", "Authorization": "Bearer x", "B": "2"})
    assert list(shown.items()) == [("A", "1"), ("Authorization", REDACTED), ("B", "2")]
