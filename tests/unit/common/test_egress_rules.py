"""Whom a tenant's jobs may call, and with which headers."""

import json
from typing import Any

import pytest

from carom_common.domain.egress_rules import NO_RULES, EgressRules, parse_egress_rules


def rules(**sections: Any) -> EgressRules:
    return parse_egress_rules(json.dumps(sections))


def test_without_rules_any_host_may_be_called() -> None:
    for nothing in (NO_RULES, parse_egress_rules(""), parse_egress_rules(" "), rules()):
        assert (nothing.of("a").targets, nothing.of("a").callbacks) == (None, None)
        assert nothing.of("a").headers.first({"X-Any": "1"}, None) is None


def test_a_list_holds_names_all_below_a_name_and_addresses() -> None:
    hosts = rules(a={"targets": ["Api.Example.", "*.svc.example", "10.0.0.0/8", "2001:db8::1"]}).of("a").targets
    assert hosts is not None
    for host in ("api.example", "API.EXAMPLE", "api.example.", "a.b.svc.example", "10.1.2.3", "2001:DB8::1"):
        assert hosts.refusal(host) is None
    for host in ("", "example", "xapi.example", "api.example.evil.test", "svc.example", "11.0.0.1", "::ffff:10.0.0.1"):
        assert hosts.refusal(host) == f"{host.rstrip('.')} is not among the hosts that targets may have"


@pytest.mark.parametrize("host", ["2130706433", "0x0a.1", "10.1", "10.0.0.1%eth0"])
def test_what_only_some_read_as_an_address_is_on_no_list(host: str) -> None:
    hosts = rules(a={"targets": ["0.0.0.0/0", "::/0"]}).of("a").targets
    assert hosts is not None
    assert hosts.refusal(host) is not None


def test_an_empty_list_lets_nobody_be_called() -> None:
    hosts = rules(a={"callbacks": []}).of("a").callbacks
    assert hosts is not None
    assert hosts.refusal("api.example") == "api.example is not among the hosts that callbacks may have"


def test_what_is_said_of_a_tenant_takes_the_place_of_what_is_said_of_all() -> None:
    both = parse_egress_rules('{"*": {"targets": ["a.test"], "callbacks": ["c.test"]}, "b": {"targets": ["b.test"]}}')
    ours, others = both.of("b"), both.of("x")
    assert ours.targets is not None
    assert others.targets is not None
    assert ours.callbacks is not None
    assert (ours.targets.refusal("b.test"), ours.targets.refusal("a.test") is None) == (None, False)
    assert (others.targets.refusal("a.test"), others.targets.refusal("b.test") is None) == (None, False)
    assert ours.callbacks.refusal("c.test") is None


def test_whether_who_is_called_is_told_the_trace() -> None:
    everybody = parse_egress_rules('{"*": {"traceContext": false}, "a": {"traceContext": true}, "b": {}}')
    assert [everybody.of(tenant).trace_context for tenant in "abx"] == [True, False, False]
    one = rules(a={"traceContext": False})
    assert [one.of(tenant).trace_context for tenant in "ab"] == [False, True]
    assert NO_RULES.of("a").trace_context


def test_headers_that_are_blocked_or_not_among_the_allowed() -> None:
    given = rules(a={"headers": {"allow": ["X-*", "accept"], "block": ["x-forwarded-*", "X-Real-IP"]}}).of("a").headers
    headers = {"X-One": "1", "Accept": "*/*", "X-Forwarded-For": "1", "x-real-ip": "1", "Cookie": "1", "Acceptx": "1"}
    assert dict(given.refusals(headers, None)) == {
        "X-Forwarded-For": "is blocked by configuration",
        "x-real-ip": "is blocked by configuration",
        "Cookie": "is not among the headers that are allowed",
        "Acceptx": "is not among the headers that are allowed",
    }
    assert given.first({"Cookie": "1"}, None) == "the header Cookie is not among the headers that are allowed"


def test_a_block_list_for_all_holds_for_every_tenant_and_an_allow_list_is_replaced() -> None:
    both = parse_egress_rules(
        '{"*": {"headers": {"block": ["Cookie"], "allow": ["X-A", "Cookie"]}},'
        ' "b": {"headers": {"block": ["X-C"], "allow": ["X-B", "X-C", "Cookie"]}}}'
    )
    headers = {"Cookie": "", "X-A": "", "X-B": "", "X-C": ""}
    assert set(dict(both.of("b").headers.refusals(headers, None))) == {"Cookie", "X-A", "X-C"}
    assert set(dict(both.of("x").headers.refusals(headers, None))) == {"Cookie", "X-B", "X-C"}


def test_host_is_refused_unless_it_is_allowed_and_held_against_the_list() -> None:
    assert NO_RULES.of("a").headers.first({"hOst": "x.test"}, None) is not None
    mine = rules(a={"targets": ["*.a.test", "10.0.0.0/8"], "headers": {"host": True, "allow": []}}).of("a")
    for value in ("x.a.test", "X.A.test:8080", "10.0.0.1:80"):
        assert mine.headers.first({"Host": value}, mine.targets) is None
    for value in (
        "evil.test",
        "x.a.test.evil.test",
        "",
        "x.a.test/..",
        "u@x.a.test",
        "x.a.test,evil.test",
        "[::1]",
        "a b",
    ):
        assert mine.headers.first({"Host": value}, mine.targets) is not None
    assert mine.headers.first({"Host": "anything.test"}, None) is None


def test_a_tenant_may_be_the_only_one_to_set_host_or_the_only_one_not_to() -> None:
    both = parse_egress_rules('{"*": {"headers": {"host": true}}, "b": {"headers": {"host": false}}}')
    assert both.of("x").headers.first({"Host": "x.test"}, None) is None
    assert both.of("b").headers.first({"Host": "x.test"}, None) is not None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "must be JSON such as"),
        ("[]", "must be JSON such as"),
        ('{"a": {"target": []}}', "target"),
        ('{"a": {"targets": "x"}}', r"\$\[...\].targets"),
        ('{"a": {"targets": ["http://x/"]}}', "'http://x/' is not a CIDR"),
        ('{"A b": {}}', "'A b' is no tenant"),
        ('{"a": {"headers": {"block": ["x y"]}}}', "'x y' is not the name of a header"),
        ('{"a": {"headers": {"allow": ["x*y"]}}}', "'x\\*y' is not the name of a header"),
        ("[" * 10_000, "must be JSON such as"),
        ('{"\udc80": {}}', "must be JSON such as"),
    ],
)
def test_bad_rules_are_one_line(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse_egress_rules(text)
    assert "\n" not in str(caught.value)
