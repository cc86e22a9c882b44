"""Who signs what, verified by others' code: `v1` by the library of Standard Webhooks, `v1a` by cryptography."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError
from tests.integration.secrecy.conftest import (
    ADMIN,
    BLIND,
    HMAC,
    SHOP,
    SHOP_HMAC,
    SHOP_PRIVATE,
    SHOP_PUBLIC,
    Client,
    Vaulted,
    signing_text,
)
from tests.support.client import Api
from tests.support.target import Received, Target, respond
from tests.support.waiting import eventually

from carom_common.domain.signatures import new_private_key

pytestmark = pytest.mark.stack

FAST: dict[str, Any] = {"retryDelay": 100, "retry": {"strategy": "fixed"}}


def headers_of(received: Received) -> dict[str, str]:
    return {name.lower(): value for name, value in received.headers}


def verify_hmac(received: Received, secret: str) -> None:
    """Raise WebhookVerificationError."""
    # The library reads JSON, and a body may be empty.
    content = received.body or b""
    headers = headers_of(received)
    webhook = Webhook(secret)
    try:
        webhook.verify(content, headers)
    except json.JSONDecodeError:
        assert content == b""


def verify_ed25519(received: Received, public: str) -> None:
    """Any of the signatures; fails when none is this key's."""
    headers = headers_of(received)
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + received.body
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    texts = [text.removeprefix("v1a,") for text in headers["webhook-signature"].split(" ") if text.startswith("v1a,")]
    assert texts
    for text in texts[:-1]:
        try:
            key.verify(base64.b64decode(text), content)
        except Exception:
            continue
        return
    key.verify(base64.b64decode(texts[-1]), content)


async def call_back(api: Api, target: Target) -> Received:
    callback = target.endpoint()
    await api.submit(target.endpoint().url, callback.url)
    return await callback.one()


async def test_each_tenant_signs_with_its_own_keys(client: Client, target: Target) -> None:
    shop, other = await call_back(client(SHOP), target), await call_back(client(ADMIN), target)
    verify_hmac(shop, SHOP_HMAC)
    verify_ed25519(shop, SHOP_PUBLIC)
    verify_hmac(other, HMAC)
    for received, secret in ((shop, HMAC), (other, SHOP_HMAC)):
        with pytest.raises(WebhookVerificationError):
            verify_hmac(received, secret)
    assert headers_of(other)["webhook-signature"].count(",") == 1


async def test_public_keys_are_published_to_their_tenant(client: Client) -> None:
    """Never a secret of HMAC, which would let its readers forge."""
    answer = await client(SHOP).http.get("/api/keys/callback")
    assert answer.json() == {"keys": [{"signature": "v1a", "algorithm": "ed25519", "key": SHOP_PUBLIC}]}
    assert (await client(ADMIN).http.get("/api/keys/callback")).json() == {"keys": []}
    assert (await client(BLIND).http.get("/api/keys/callback")).status_code == 200
    anonymous = client(ADMIN)
    del anonymous.http.headers["Authorization"]
    assert (await anonymous.http.get("/api/keys/callback")).status_code == 401
    assert (await client(ADMIN).http.get("/api/keys/callback?tenant=shop")).status_code == 400


async def test_target_calls_are_signed_when_a_job_asks_for_it(client: Client, target: Target) -> None:
    """With the body as it is sent, and one id for all attempts."""
    api = client(SHOP)
    endpoint = target.endpoint(respond(503), respond(200))
    job_id = await api.submit(endpoint.url, sign=True, method="POST", payload={"n": 1}, **FAST)
    for received in await endpoint.wait(2):
        assert headers_of(received)["webhook-id"] == job_id
        verify_hmac(received, SHOP_HMAC)
        verify_ed25519(received, SHOP_PUBLIC)
    bodiless = target.endpoint()
    await api.submit(bodiless.url, sign=True)
    verify_hmac(await bodiless.one(), SHOP_HMAC)
    unsigned = target.endpoint()
    await api.submit(unsigned.url)
    assert "webhook-signature" not in headers_of(await unsigned.one())
    refused = await api.post(
        {"targetUrl": endpoint.url, "callbackUrl": None, "sign": True, "headers": {"Webhook-Id": "x"}}
    )
    assert refused.status_code == 400
    assert [problem["pointer"] for problem in refused.json()["errors"]] == ["/headers/Webhook-Id"]
    assert (await api.typed(job_id))["sign"] is True


async def test_keys_are_changed_without_a_restart_and_a_callback_missed(
    vaulted: Vaulted, client: Client, target: Target
) -> None:
    """Both sign while both are there; then the old one is gone. A broken file changes nothing."""
    private, public = new_private_key()
    api = client(SHOP)

    async def published(*keys: str) -> None:
        async def shown() -> bool:
            found = (await api.http.get("/api/keys/callback")).json()["keys"]
            return [key["key"] for key in found] == list(keys)

        await eventually(shown, f"{len(keys)} keys are published")

    async def loaded(count: int) -> None:
        await vaulted.logs.wait_for(3 * count, event="signing_keys_loaded")  # by each of three services

    before = len(vaulted.logs.events(event="signing_keys_loaded")) // 3
    try:
        vaulted.signing_file.write_text(signing_text(shop=[SHOP_HMAC, SHOP_PRIVATE, private]))
        await published(SHOP_PUBLIC, public)
        await loaded(before + 1)
        received = await call_back(api, target)
        verify_ed25519(received, SHOP_PUBLIC)
        verify_ed25519(received, public)
        vaulted.signing_file.write_text(signing_text(shop=[private]))
        await loaded(before + 2)
        received = await call_back(api, target)
        verify_ed25519(received, public)
        assert "v1," not in headers_of(received)["webhook-signature"]
        vaulted.signing_file.write_text('{"shop": ["whsec_hunter2"]}')
        await vaulted.logs.wait_for(3, event="signing_keys_rejected")
        verify_ed25519(await call_back(api, target), public)
        assert "hunter2" not in vaulted.logs.text()
    finally:
        vaulted.signing_file.write_text(signing_text(shop=[SHOP_HMAC, SHOP_PRIVATE]))
        await loaded(before + 3)


async def test_a_call_that_cannot_be_signed_is_not_made(vaulted: Vaulted, client: Client, target: Target) -> None:
    """Better no call than one that its target takes for anybody's."""
    before = len(vaulted.logs.events(event="signing_keys_loaded")) // 3
    try:
        vaulted.signing_file.write_text(json.dumps({"shop": [SHOP_PUBLIC]}))
        await vaulted.logs.wait_for(3 * (before + 1), event="signing_keys_loaded")
        endpoint = target.endpoint()
        for key in (ADMIN, SHOP):
            api = client(key)
            document = await api.wait_for_status(await api.submit(endpoint.url, sign=True))
            assert (document["status"], document["reason"], document["attempts"]) == ("failed", "unsigned", 1)
        assert endpoint.requests == []
    finally:
        vaulted.signing_file.write_text(signing_text(shop=[SHOP_HMAC, SHOP_PRIVATE]))
        await vaulted.logs.wait_for(3 * (before + 2), event="signing_keys_loaded")
