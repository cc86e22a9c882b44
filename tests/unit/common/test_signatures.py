"""Signatures, verified by others' code: `v1` by the public library of Standard Webhooks, `v1a` by cryptography."""

import base64
import json
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from carom_common.domain.signatures import (
    MAX_KEYS,
    InvalidKeys,
    Signer,
    new_private_key,
    parse_signers,
    signer_in,
    signer_of,
)

HMAC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_HMAC = "whsec_" + base64.b64encode(b"o" * 32).decode()
BODY = b'{"test": 2432232314}'


def verify_v1a(signature: str, public: str, message_id: str, timestamp: int, body: bytes) -> None:
    """As a receiver does it; raises InvalidSignature."""
    version, _, text = signature.partition(",")
    assert version == "v1a"
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    key.verify(base64.b64decode(text), f"{message_id}.{timestamp}.".encode() + body)


def test_hmac_is_the_published_example() -> None:
    """The example of the Standard Webhooks specification and Svix's documentation."""
    signature = signer_in(HMAC).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_every_key_signs_and_each_receiver_finds_its_own() -> None:
    """While keys are changed, receivers of the old and of the new one are content."""
    private, public = new_private_key()
    signer = Signer([HMAC, OTHER_HMAC, private])
    now = int(time.time())
    headers = signer.headers("m1", now, BODY)
    assert Webhook(HMAC).verify(BODY, headers) == Webhook(OTHER_HMAC).verify(BODY, headers) == json.loads(BODY)
    signatures = headers["webhook-signature"].split(" ")
    assert [signature.partition(",")[0] for signature in signatures] == ["v1", "v1", "v1a"]
    verify_v1a(signatures[2], public, "m1", now, BODY)
    assert signer.public == (public,)


@pytest.mark.parametrize(("message_id", "offset", "body"), [("m2", 0, BODY), ("m1", 1, BODY), ("m1", 0, BODY + b" ")])
def test_id_time_and_body_are_signed(message_id: str, offset: int, body: bytes) -> None:
    private, public = new_private_key()
    now = int(time.time())
    hmac, ed25519 = Signer([HMAC, private]).sign("m1", now, BODY).split(" ")
    headers = {"webhook-id": message_id, "webhook-timestamp": str(now + offset), "webhook-signature": hmac}
    with pytest.raises(WebhookVerificationError):
        Webhook(HMAC).verify(body, headers)
    with pytest.raises(InvalidSignature):
        verify_v1a(ed25519, public, message_id, now + offset, body)


def test_a_private_key_may_carry_its_public_half() -> None:
    private, public = new_private_key()
    seed, shown = (base64.b64decode(key[5:]) for key in (private, public))
    both = "whsk_" + base64.b64encode(seed + shown).decode()
    assert signer_in(both).public == (public,)
    wrong = "whsk_" + base64.b64encode(seed + b"x" * 32).decode()
    with pytest.raises(InvalidKeys):
        signer_in(wrong)


def test_a_public_key_signs_nothing() -> None:
    _, public = new_private_key()
    signer = signer_in(public)
    assert (signer.public, signer.signs) == ((public,), False)
    assert signer_in(HMAC).signs
    assert signer_in(HMAC).public == ()


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_not base64!",
        "x" * 100,
        "whsk_c2hvcnQ=",
        "whpk_" + "A" * 86 + "==",
        "whsk_é",
    ],
)
def test_a_weak_or_broken_key_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidKeys) as refused:
        Signer([secret])
    assert "whsec_" in str(refused.value)
    assert not secret[6:] or secret[6:] not in str(refused.value)


def test_the_number_of_keys_is_bounded() -> None:
    for count in (0, MAX_KEYS + 1):
        with pytest.raises(InvalidKeys, match="1 to 8"):
            Signer([HMAC] * count)


def test_tenants_have_keys_of_their_own_or_those_of_everybody() -> None:
    signers = parse_signers(json.dumps({"acme": [OTHER_HMAC], "*": [HMAC]}).encode())
    assert signer_of(signers, "acme") is signers["acme"]
    assert signer_of(signers, "other") is signers["*"]
    assert signer_of({}, "acme") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"[", "JSON"),
        (b'{"a": "b"}', "JSON"),
        (b'{"acme": []}', "'acme'"),
        (b'{"acme": ["whsec_"]}', "'acme'"),
        (b"\xff", "JSON"),
    ],
)
def test_a_broken_file_says_where(text: bytes, told: str) -> None:
    with pytest.raises(InvalidKeys, match=told):
        parse_signers(text)
