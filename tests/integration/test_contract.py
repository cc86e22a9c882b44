"""The OpenAPI document against the live service: schemathesis with every check, and every example."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
from tests.integration.conftest import ENV, Servers
from tests.support.target import Target, respond
from tests.support.waiting import eventually

from carom_intake.domain.keys import Scope, new_key
from carom_intake.openapi.document import document, document_bytes
from devstack.services import Service, Stack

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
EXAMPLES_EACH = 12
"""Generated requests for each operation and mode, the same in every run; `CONTRACT_EXAMPLES=200` looks for new ones."""

EXCLUDED = ("--exclude-checks", "use_after_free")
"""No DELETE here makes a 404: a cancelled job, a stopped bulk act and a reset destination are there to be looked at."""

CONFIG = """
hooks = "{hooks}"
max-stream-events = 1
request-timeout = 20
[generation]
allow-extra-parameters = false
deterministic = {deterministic}
max-examples = {examples}
[phases.stateful]
max-steps = 6
"""


ADMIN = new_key("contract", "contract", [Scope.ADMIN])


@pytest.fixture(scope="module")
def intake(stack: Stack, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An intake that wants keys, on the session's servers; the session's executor and callback serve it too."""
    file = tmp_path_factory.mktemp("contract") / "keys.json"
    file.write_text(json.dumps({"keys": [msgspec.to_builtins(ADMIN.key)]}))
    environment = ENV | {
        "RABBITMQ_URL": servers.rabbitmq.url,
        "REDIS_URL": servers.redis.url,
        "CAROM_AUTH": "keys",
        "CAROM_KEYS_FILE": str(file),
        "CAROM_STREAM_SECONDS": "1",
    }
    service = Service("intake", environment, log=servers.directory / "contract" / "intake.log")
    service.start()
    yield service
    service.terminate()


@pytest.fixture(scope="module")
async def client(intake: Service) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {ADMIN.token}"}
    async with httpx.AsyncClient(base_url=intake.url, headers=headers, trust_env=False, timeout=30) as client:
        yield client


async def test_the_document_is_served_to_anybody_and_is_the_one_that_is_tested(intake: Service) -> None:
    async with httpx.AsyncClient(base_url=intake.url, trust_env=False) as anybody:
        answer = await anybody.get("/openapi.json")
        assert answer.headers["content-type"] == "application/json"
        assert answer.content == document_bytes()
        page = await anybody.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "<script" not in page.text


@pytest.mark.timeout(300)
def test_schemathesis_finds_nothing(intake: Service, target_url: str, tmp_path: Path) -> None:
    """Examples, edge cases of the schemas, random data and random sequences, valid and not; with all checks."""
    config = tmp_path / "schemathesis.toml"
    hooks = ROOT / "tests" / "support" / "contract_hooks.py"
    more = os.environ.get("CONTRACT_EXAMPLES")
    deterministic = "false" if more else "true"
    config.write_text(CONFIG.format(hooks=hooks, examples=more or EXAMPLES_EACH, deterministic=deterministic))
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
            *("run", f"{intake.url}/openapi.json", "--checks", "all", *EXCLUDED, "--no-color", "--workers", "1"),
            *("--header", f"Authorization: Bearer {ADMIN.token}"),
        ],
        cwd=tmp_path,  # it leaves a folder there
        env={**os.environ, "PYTHONPATH": str(ROOT), "CONTRACT_TARGET": target_url, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-4000:]


@pytest.fixture(scope="module")
def target_url(target: Target) -> str:
    return target.endpoint().url


def request_examples() -> Iterator[Any]:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            body = operation.get("requestBody", {"content": {}})
            for content in body["content"].values():
                for name, example in content["examples"].items():
                    yield pytest.param(
                        method, path, operation, example["value"], id=f"{operation['operationId']}-{name}"
                    )


@pytest.mark.parametrize(("method", "path", "operation", "body"), [*request_examples()])
async def test_every_example_of_a_request_is_taken(
    client: httpx.AsyncClient, target_url: str, method: str, path: str, operation: dict[str, Any], body: Any
) -> None:
    """As it stands in the document, but for hosts: it is called on loopback."""
    sent = json.loads(json.dumps(body).replace("https://example.com/", target_url + "/"))

    async def taken() -> httpx.Response | None:
        answer = await client.request(method, path, json=sent)
        # The bulk acts of the tests before may be under way still.
        return None if answer.status_code == 409 and answer.json()["reason"] == "too-many-bulk-acts" else answer

    answer = await eventually(taken, "fewer bulk acts are under way")
    assert answer.is_success, answer.text
    described = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
    check(answer.json(), described)


def answer_examples() -> Iterator[Any]:
    for item in document()["paths"].values():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                for content in answer.get("content", {}).values():
                    for example in content.get("examples", {}).values():
                        name = f"{operation['operationId']}-{status}"
                        yield pytest.param(content["schema"], example["value"], id=name)


@pytest.mark.parametrize(("schema", "value"), [*answer_examples()])
def test_every_example_of_an_answer_is_as_described(schema: dict[str, Any], value: Any) -> None:
    check(value, schema)


def check(value: Any, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": document()["components"]}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(whole, format_checker=checker).validate(value)


async def test_dead_letters_and_their_handles_are_as_described(client: httpx.AsyncClient, target: Target) -> None:
    """What schemathesis meets with a 404 only: it has no job whose retries are spent."""
    job = {"targetUrl": target.endpoint(respond(500)).url, "callbackUrl": None, "maxRetries": 0}
    job_id = (await client.post("/api/jobs", json=job)).json()["jobId"]

    async def dead() -> bool:
        return (await client.get(f"/api/dead-letters/{job_id}")).status_code == 200

    async def call(method: str, template: str, name: str, **more: Any) -> Any:
        answer = await client.request(method, template.format(jobId=job_id, id=name), **more)
        operation = document()["paths"][template][method.lower()]
        described = operation["responses"][str(answer.status_code)]["content"]
        (media,) = described
        assert answer.headers["content-type"] == media
        check(answer.json(), described[media]["schema"])
        assert answer.is_success, answer.text
        return answer.json()

    await eventually(dead, f"{job_id} among the dead letters")
    await call("GET", "/api/dead-letters", "")
    await call("GET", "/api/dead-letters/{jobId}", "")
    await call("GET", "/api/jobs/{jobId}/attempts", "")
    await call("GET", "/api/job/{jobId}", "")
    await call("POST", "/api/dead-letters/{jobId}/redrive", "")
    await eventually(dead, f"{job_id} among the dead letters again")
    await call("DELETE", "/api/dead-letters/{jobId}", "")
    far = {"createdBefore": "2020-01-01T00:00:00Z"}
    handle = await call("POST", "/api/dead-letters/redrive", "", json=far)
    await call("GET", "/api/redrives/{id}", handle["id"])
    preview = await call("POST", "/api/dead-letters/redrive", "", json=far | {"dryRun": True})
    assert preview["count"] == 0
