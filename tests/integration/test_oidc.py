"""Tokens of an identity provider: a real server with its keys, rotated; every publicly known way to forge one."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.integration.conftest import ENV, Servers
from tests.support.intakes import Intakes, intakes
from tests.support.logs import Logs
from tests.support.waiting import eventually

from carom_intake.domain.keys import Scope, new_key
from devstack.services import Stack

pytestmark = pytest.mark.stack

ISSUER, AUDIENCE = "https://id.example/", "carom"
LEEWAY = 4
ADMIN = new_key("admin", "default", [Scope.ADMIN])
JWK: dict[str, Any] = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


class Signer:
    """A key pair of the provider."""

    def __init__(self, kid: str, algorithm: str, bits: int = 2048) -> None:
        self.kid, self.algorithm = kid, algorithm
        makers: dict[str, Callable[[], Any]] = {
            "RS256": lambda: rsa.generate_private_key(65_537, bits),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }
        self.private = makers[algorithm]()

    @property
    def pem(self) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[no-any-return]

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(  # type: ignore[no-any-return]
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def jwk(self) -> dict[str, Any]:
        found: dict[str, Any] = JWK[self.algorithm].to_jwk(self.private.public_key(), as_dict=True)
        return found | {"kid": self.kid, "use": "sig", "alg": self.algorithm}

    def token(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        return jwt.encode(claims_of(**claims), self.pem, self.algorithm, {"kid": self.kid} | (headers or {}))


def claims_of(**claims: Any) -> dict[str, Any]:
    """Good ones, but for those given; None leaves one out."""
    now = int(time.time())
    every = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now + 600, "iat": now, "tenant": "shop"}
    every |= {"scope": "openid jobs:read jobs:write"} | claims
    return {name: value for name, value in every.items() if value is not None}


class Provider:
    """Its JWKS over HTTP. `keys` may change; `broken` answers with an error."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.broken = False
        self.asked = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                body = json.dumps({"keys": provider.keys}).encode()
                self.send_response(500 if provider.broken else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/jwks"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


RSA, EC, ED, OTHER = Signer("rsa", "RS256"), Signer("ec", "ES256"), Signer("ed", "EdDSA"), Signer("rsa", "RS256")
WEAK = Signer("weak", "RS256", 1024)
SHARED = b"a shared secret of thirty-two by"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    made = Provider()
    made.keys = [RSA.jwk, EC.jwk, ED.jwk, WEAK.jwk]
    made.keys.append({"kty": "oct", "kid": "oct", "k": base64.urlsafe_b64encode(SHARED).decode(), "alg": "HS256"})
    made.keys.append(RSA.jwk | {"kid": "for-encryption", "use": "enc"})
    yield made
    made.close()


def environment(servers: Servers, provider: Provider) -> dict[str, str]:
    return ENV | {
        "RABBITMQ_URL": servers.rabbitmq.url,
        "REDIS_URL": servers.redis.url,
        "CAROM_OIDC_ISSUER": ISSUER,
        "CAROM_OIDC_AUDIENCE": AUDIENCE,
        "CAROM_OIDC_JWKS_URL": provider.url,
        "CAROM_OIDC_LEEWAY": str(LEEWAY),
    }


@pytest.fixture(scope="module")
async def one(stack: Stack, servers: Servers, provider: Provider) -> AsyncIterator[Intakes]:
    async with intakes(servers.directory / "oidc", environment(servers, provider), ADMIN) as started:
        yield started


async def status(one: Intakes, token: str) -> int:
    """404: it was let in, and there is no such job."""
    return (await one.api(token).http.get("/api/jobs/x")).status_code


# Who is let in


@pytest.mark.parametrize("signer", [RSA, EC, ED], ids=lambda signer: signer.algorithm)
async def test_a_good_token_is_as_good_as_a_key(one: Intakes, signer: Signer) -> None:
    api = one.api(signer.token())
    job_id = await api.submit("http://127.0.0.1:59999/", delay=600_000)
    assert (await api.typed(job_id))["status"] == "scheduled"
    assert (await one.api(signer.token(sub="bob")).http.get(f"/api/jobs/{job_id}")).status_code == 200
    assert (await one.api(signer.token(tenant="other")).http.get(f"/api/jobs/{job_id}")).status_code == 404
    assert await status(one, ADMIN.token) == 404, "keys are taken as ever"


async def test_its_scopes_count(one: Intakes) -> None:
    for scope in ("", "openid profile", ["jobs:write"], None, 7, {"jobs:read": True}):
        answer = await one.api(RSA.token(scope=scope)).http.get("/api/jobs/x")
        assert answer.status_code == 403, scope
    for scope in ("jobs:read", ["jobs:read", "x"], "admin"):
        assert await status(one, RSA.token(scope=scope)) == 404
    key = await one.api(RSA.token(scope="admin")).http.post("/api/keys", json={"scopes": ["jobs:read"]})
    assert key.json()["key"]["createdBy"] == "oidc:ann"
    assert key.json()["key"]["tenant"] == "shop"


async def test_the_audit_trail_names_the_subject(one: Intakes) -> None:
    api = one.api(RSA.token(scope="admin", sub="carol", tenant="trail"))
    assert (await api.http.post("/api/pause", json={"host": "a.example"})).status_code == 200
    await api.http.post("/api/resume", json={"host": "a.example"})

    async def told() -> bool:
        entries = (await api.http.get("/api/audit")).json()["entries"]
        return [entry["by"] for entry in entries] == ["oidc:carol"] * 2

    await eventually(told, "both acts are told")


async def test_clocks_may_differ_a_little(one: Intakes) -> None:
    now = int(time.time())
    assert await status(one, RSA.token(exp=now - LEEWAY + 3)) == 404
    assert await status(one, RSA.token(nbf=now + LEEWAY - 1)) == 404
    assert await status(one, RSA.token(exp=now - LEEWAY - 1)) == 401
    assert await status(one, RSA.token(nbf=now + LEEWAY + 5)) == 401


async def test_a_token_ends_though_it_was_remembered(one: Intakes) -> None:
    token = RSA.token(exp=int(time.time()) + 1)
    assert await status(one, token) == 404

    async def over() -> bool:
        return await status(one, token) == 401

    await eventually(over, "it has ended", 1 + LEEWAY + 3)


# Who is not


def b64(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hand_made(header: dict[str, Any], secret: bytes | None, **claims: Any) -> str:
    """A token that no library would make: HMAC with whatever secret, or no signature."""
    text = f"{b64(header)}.{b64(claims_of(**claims))}"
    signature = hmac.new(secret, text.encode(), hashlib.sha256).digest() if secret is not None else b""
    return f"{text}.{b64(signature) or 'AA'}"


def changed(token: str) -> str:
    """With a claim changed after it was signed."""
    head, _, signature = token.split(".")
    return f"{head}.{b64(claims_of(tenant='other'))}.{signature}"


JWK_TEXT = json.dumps(RSA.jwk).encode()
FORGED: dict[str, Callable[[], str]] = {
    "alg none": lambda: hand_made({"alg": "none", "kid": "rsa"}, None),
    "alg None": lambda: hand_made({"alg": "None", "kid": "rsa"}, None),
    "HMAC with the public key": lambda: hand_made({"alg": "HS256", "kid": "rsa"}, RSA.public_pem),
    "HMAC with the JWK": lambda: hand_made({"alg": "HS256", "kid": "rsa"}, JWK_TEXT),
    "HMAC with nothing": lambda: hand_made({"alg": "HS256", "kid": "rsa"}, b""),
    "HMAC with a symmetric key of the set": lambda: hand_made({"alg": "HS256", "kid": "oct"}, SHARED),
    "another key under a known kid": OTHER.token,
    "a key that the token brings": lambda: OTHER.token({"jwk": OTHER.jwk, "kid": "mine"}),
    "a URL that the token brings": lambda: OTHER.token({"jku": "http://127.0.0.1:1/", "kid": "mine"}),
    "the algorithm of another key": lambda: RSA.token({"kid": "ec"}),
    "another algorithm of the same key": lambda: jwt.encode(claims_of(), RSA.pem, "RS512", {"kid": "rsa"}),
    "a weak key": WEAK.token,
    "a key for encryption": lambda: RSA.token({"kid": "for-encryption"}),
    "no kid": lambda: jwt.encode(claims_of(), RSA.pem, "RS256"),
    "a kid that is a path": lambda: RSA.token({"kid": "../../dev/null"}),
    "a critical extension": lambda: RSA.token({"crit": ["x"], "x": 1}),
    "changed claims": lambda: changed(RSA.token()),
    "no signature": lambda: RSA.token().rpartition(".")[0] + ".AA",
    "another issuer": lambda: RSA.token(iss="https://id.example"),
    "no issuer": lambda: RSA.token(iss=None),
    "another audience": lambda: RSA.token(aud="other"),
    "no audience": lambda: RSA.token(aud=None),
    "no end": lambda: RSA.token(exp=None),
    "an end that is none": lambda: RSA.token(exp=10**400),
    "an ended one": lambda: RSA.token(exp=int(time.time()) - 3600),
    "no subject": lambda: RSA.token(sub=None),
    "no tenant": lambda: RSA.token(tenant=None),
    "a tenant that is none": lambda: RSA.token(tenant="../shop"),
    "tenants": lambda: RSA.token(tenant=["shop"]),
    "far too long": lambda: RSA.token(pad="x" * 20_000),
    "deep": lambda: f"{b64({'alg': 'RS256', 'kid': 'rsa'})}.{b64(b'[' * 5000)}.AA",
    "no JSON": lambda: f"{b64(b'x')}.{b64(b'x')}.AA",
}


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_what_is_forged_gets_the_one_answer(one: Intakes, forge: Callable[[], str]) -> None:
    nobody = await one.api(None).http.get("/api/jobs/x", headers={"X-Request-Id": "same"})
    answer = await one.api(forge()).http.get("/api/jobs/x", headers={"X-Request-Id": "same"})
    assert (answer.status_code, answer.text) == (401, nobody.text)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_nothing_of_a_token_is_logged(one: Intakes, servers: Servers) -> None:
    token = RSA.token()
    await status(one, token)
    await status(one, changed(token))
    text = Logs(servers.directory / "oidc").text()
    assert token.rpartition(".")[2] not in text
    assert token.split(".")[1] not in text


# Keys that change


async def test_keys_are_rotated_without_a_restart(servers: Servers, stack: Stack) -> None:
    """A new key counts soon after a token names it, a withdrawn one no more; requests never wait for the provider."""
    provider, old, new = Provider(), Signer("old", "ES256"), Signer("new", "ES256")
    provider.keys = [old.jwk]
    try:
        async with intakes(servers.directory / "oidc-rotated", environment(servers, provider), ADMIN) as rotated:
            token = old.token()
            assert await status(rotated, token) == 404
            asked = provider.asked
            provider.keys = [old.jwk, new.jwk]
            assert await status(rotated, new.token()) == 401, "not yet known: it is not waited for"
            await eventually(lets_in(rotated, new.token()), "the new key counts", 8)
            assert await status(rotated, token) == 404
            provider.keys = [new.jwk]
            begun = time.monotonic()
            for _ in range(100):
                await status(rotated, Signer("nobody", "ES256").token())
            seconds = time.monotonic() - begun
            await eventually(lets_in(rotated, token, 401), "the old key counts no more", 8)
            assert provider.asked - asked <= 3 + (seconds + 8) / 2, "whoever invents keys makes nobody fetch them"
            provider.broken = True
            assert await status(rotated, Signer("nobody", "ES256").token()) == 401
            await Logs(servers.directory / "oidc-rotated").wait_for(event="oidc_keys_away")
            assert await status(rotated, new.token()) == 404, "what is known stays in force"
    finally:
        provider.close()


async def test_a_provider_that_is_away_at_start_is_a_503(servers: Servers, stack: Stack) -> None:
    """And keys are taken all the same; once it is there, so are tokens."""
    provider = Provider()
    provider.keys, provider.broken = [EC.jwk], True
    try:
        async with intakes(servers.directory / "oidc-away", environment(servers, provider), ADMIN) as away:
            assert await status(away, EC.token()) == 503
            assert await status(away, ADMIN.token) == 404
            provider.broken = False
            await eventually(lets_in(away, EC.token()), "it is there", 8)
    finally:
        provider.close()


def lets_in(intake: Intakes, token: str, wanted: int = 404) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return await status(intake, token) == wanted

    return ask
