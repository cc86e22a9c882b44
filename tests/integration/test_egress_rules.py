"""Whom a tenant's jobs may call and with which headers: refused at acceptance, and by those who call."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.integration.conftest import ENV, Servers
from tests.integration.test_submit import check_problem, refused
from tests.support.client import Api
from tests.support.target import Answer, Target, respond

from devstack.services import Stack

pytestmark = pytest.mark.stack

RULES = {
    "*": {"targets": ["nobody.test"], "callbacks": []},
    "default": {
        "targets": ["127.0.0.1", "*.example"],
        "callbacks": ["127.0.0.1"],
        "headers": {"block": ["X-Forwarded-*"], "host": True},
    },
}
NOT_A_TARGET = "cannot be called: localhost is not among the hosts that targets may have"
NOT_A_CALLBACK = "cannot be called: localhost is not among the hosts that callbacks may have"


@pytest.fixture(scope="module")
def ruled(servers: Servers) -> Iterator[Stack]:
    """Services under the rules, and one more intake that does not know them yet: jobs that came before they did."""
    servers.rabbitmq.ctl("add_vhost", "rules")
    servers.rabbitmq.ctl("set_permissions", "-p", "rules", "guest", ".*", ".*", ".*")
    url, store = f"{servers.rabbitmq.url}rules", f"{servers.redis.url}/9"
    stack = Stack(url, store, log=servers.directory / "rules", env=ENV | {"CAROM_EGRESS_RULES": json.dumps(RULES)})
    unaware = stack.add("intake")
    unaware.env["CAROM_EGRESS_RULES"] = json.dumps({"*": {"headers": {"host": True}}})
    with stack:
        yield stack
    servers.rabbitmq.ctl("delete_vhost", "rules")


@pytest.fixture
async def aware(ruled: Stack) -> AsyncIterator[Api]:
    client = Api(ruled.api)
    yield client
    await client.aclose()


@pytest.fixture
async def unaware(ruled: Stack) -> AsyncIterator[Api]:
    client = Api(ruled.of("intake")[1].url)
    yield client
    await client.aclose()


def elsewhere(url: str) -> str:
    """The same server under a name that is on no list."""
    return url.replace("127.0.0.1", "localhost")


async def test_what_the_rules_allow_is_called(aware: Api, target: Target) -> None:
    there, back = target.endpoint(), target.endpoint()
    job = await aware.submit(there.url, back.url, headers={"Host": "site.example", "X-Any": "1"})
    received = await there.one()
    assert received.header("Host") == "site.example"
    assert received.header("X-Any") == "1"
    await back.one()
    assert (await aware.wait_for_callback(job))["callback"]["status"] == "delivered"


async def test_each_field_that_breaks_a_rule_is_named_at_acceptance(aware: Api) -> None:
    url = "http://localhost:8089/"
    told = await refused(
        aware, {"targetUrl": url, "callbackUrl": url, "headers": {"x-forwarded-for": "1", "Host": "a.b"}}
    )
    assert told == {
        "/targetUrl": NOT_A_TARGET,
        "/callbackUrl": NOT_A_CALLBACK,
        "/headers/x-forwarded-for": "is blocked by configuration",
        "/headers/Host": "a.b is not among the hosts that targets may have",
    }
    callback = {"url": url, "headers": {"X-Forwarded-Host": "1"}}
    told = await refused(aware, {"targetUrl": "http://x.example/", "callback": callback})
    assert told == {
        "/callback/url": NOT_A_CALLBACK,
        "/callback/headers/X-Forwarded-Host": "is blocked by configuration",
    }


async def test_in_a_batch_the_job_is_named(aware: Api) -> None:
    jobs = [{"targetUrl": url, "callbackUrl": None} for url in ("http://x.example/", "http://localhost:8089/")]
    answer = await aware.http.post("/api/jobs/batch", json={"jobs": jobs, "atomic": True})
    assert [error["pointer"] for error in check_problem(answer, 400)["errors"]] == ["/jobs/1/targetUrl"]


async def test_ports_of_other_protocols_are_refused_at_acceptance(aware: Api) -> None:
    told = await refused(aware, {"targetUrl": "http://127.0.0.1:6379/", "callbackUrl": None})
    assert told == {"/targetUrl": "cannot be called: port 6379 is blocked"}


async def check_refused(api: Api, job: str, says: str) -> None:
    document = await api.wait_for_status(job)
    assert document["status"] == "failed"
    assert document["attempts"] == 1
    assert says in document["attemptsLog"][-1]["error"]


async def test_a_job_that_came_before_the_rules_is_not_called(unaware: Api, target: Target) -> None:
    there, allowed = target.endpoint(), target.endpoint()
    job = await unaware.submit(elsewhere(there.url))
    await check_refused(unaware, job, "localhost is not among the hosts that targets may have")
    for name, value, says in (
        ("X-Forwarded-For", "1", "the header X-Forwarded-For is blocked by configuration"),
        ("Host", "evil.test", "the header Host evil.test is not among the hosts that targets may have"),
    ):
        job = await unaware.submit(allowed.url, headers={name: value})
        await check_refused(unaware, job, says)
    assert there.requests == allowed.requests == []


async def test_a_redirect_leads_to_no_other_host(aware: Api, target: Target) -> None:
    secret = target.endpoint()
    there = target.endpoint(Answer(302, b"", {"Location": elsewhere(secret.url)}))
    job = await aware.submit(there.url, followRedirects=True)
    await check_refused(aware, job, "localhost is not among the hosts that targets may have")
    assert (len(there.requests), secret.requests) == (1, [])


async def test_a_callback_that_came_before_the_rules_is_not_made(unaware: Api, target: Target) -> None:
    back = target.endpoint()
    callbacks: list[Any] = [
        {"url": elsewhere(back.url)},
        {"url": back.url, "headers": {"X-Forwarded-For": "1"}},
        {"url": back.url, "headers": {"Host": "evil.test"}},
    ]
    for callback in callbacks:
        body = {"targetUrl": target.endpoint(respond()).url, "callback": callback}
        answer = await unaware.post(body)
        assert answer.status_code == 202, answer.text
        document = await unaware.wait_for_callback(answer.json()["jobId"], "failed")
        assert document["status"] == "completed"
    assert back.requests == []
