"""What the configuration does not let be called is refused at acceptance, naming the field."""

import json
from typing import Any

import pytest

from carom_common.domain.egress_rules import parse_egress_rules
from carom_common.domain.outbound import SCHEMES, Outbound
from carom_common.domain.ports import Ports
from carom_intake.domain.submission import InvalidSubmission, parse_submission

RULES = parse_egress_rules(
    json.dumps(
        {
            "*": {"headers": {"block": ["Cookie"]}},
            "a": {"targets": ["*.a.test"], "callbacks": ["hooks.test"], "headers": {"host": True}},
        }
    )
)
OUTBOUND = Outbound(SCHEMES, Ports(), RULES)
JOB: dict[str, Any] = {"targetUrl": "https://api.a.test/x", "callbackUrl": "https://hooks.test/"}


def problems(tenant: str = "a", outbound: Outbound = OUTBOUND, **fields: Any) -> dict[str, str]:
    body = json.dumps({name: value for name, value in (JOB | fields).items() if value is not ...}).encode()
    try:
        parse_submission(body, 1_700_000_000_000, outbound, tenant)
    except InvalidSubmission as error:
        return {problem.pointer: problem.detail for problem in error.problems}
    return {}


def test_a_job_within_the_rules_is_taken() -> None:
    assert problems() == {}
    assert problems(headers={"Host": "other.a.test", "X-Any": "1"}) == {}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://evil.test/", "evil.test"),
        ("https://api.a.test.evil.test/", "api.a.test.evil.test"),
        ("https://a.test/", "a.test"),
        ("https://evil.test/?api.a.test", "evil.test"),
        ("https://evil.test#.a.test", "evil.test"),
        ("https://10.0.0.1/", "10.0.0.1"),
        ("https://éa.test/", "xn--a-9fa.test"),
    ],
)
def test_a_target_that_is_not_on_the_list_is_named(url: str, host: str) -> None:
    told = problems(targetUrl=url)
    assert told == {"/targetUrl": f"cannot be called: {host} is not among the hosts that targets may have"}


def test_callbacks_have_a_list_of_their_own_in_both_forms() -> None:
    told = "cannot be called: api.a.test is not among the hosts that callbacks may have"
    assert problems(callbackUrl="https://api.a.test/") == {"/callbackUrl": told}
    assert problems(callbackUrl=..., callback={"url": "https://api.a.test/"}) == {"/callback/url": told}
    assert problems(callbackUrl=None) == {}


def test_another_tenant_is_under_the_rules_for_all() -> None:
    assert problems("b", targetUrl="https://anywhere.test/", callbackUrl="https://elsewhere.test/") == {}
    assert problems(
        "b", targetUrl="https://anywhere.test/", callbackUrl=None, headers={"cookie": "x", "Host": "y"}
    ) == {
        "/headers/cookie": "is blocked by configuration",
        "/headers/Host": "belongs to the connection and cannot be set by a job",
    }


def test_headers_of_the_callback_are_under_the_rules_too() -> None:
    callback = {"url": "https://hooks.test/", "headers": {"Cookie": "x", "Host": "api.a.test"}}
    assert problems(callbackUrl=..., callback=callback) == {
        "/callback/headers/Cookie": "is blocked by configuration",
        "/callback/headers/Host": "api.a.test is not among the hosts that callbacks may have",
    }


def test_a_host_of_another_list_is_no_way_round() -> None:
    told = problems(headers={"Host": "evil.test"})
    assert told == {"/headers/Host": "evil.test is not among the hosts that targets may have"}


def test_ports_and_schemes() -> None:
    assert problems(targetUrl="https://api.a.test:6379/") == {"/targetUrl": "cannot be called: port 6379 is blocked"}
    secure = Outbound(frozenset({"https"}), Ports(["443"]), RULES)
    assert problems(outbound=secure, targetUrl="http://api.a.test/", callbackUrl="https://hooks.test:8443/") == {
        "/targetUrl": "cannot be called: the scheme http is not allowed",
        "/callbackUrl": "cannot be called: port 8443 is not among the allowed ports",
    }


def test_all_problems_are_told_when_something_else_is_wrong_too() -> None:
    told = problems(targetUrl="https://evil.test/", headers={"Cookie": "x"}, maxRetries=99)
    assert set(told) == {"/targetUrl", "/headers/Cookie", "/maxRetries"}
