"""API keys: what a file may hold, and which `Authorization` proves which key."""

import contextlib
import hashlib
import hmac
import json
import string
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carom_intake import make_key
from carom_intake.domain import keys as module
from carom_intake.domain.addresses import parse_address
from carom_intake.domain.keys import ALL_SCOPES, InvalidKeys, Key, Refusal, Scope, new_key, parse_keys

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SECRET = "a1B2" * 8
ALPHABET = string.ascii_letters + string.digits


def entry(**fields: Any) -> dict[str, Any]:
    return {"id": "shop", "hash": hashlib.sha256(SECRET.encode()).hexdigest(), "scopes": ["jobs:write"]} | fields


def file(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"keys": entries}).encode()


def verify(authorization: str, *entries: dict[str, Any]) -> Key | Refusal:
    return parse_keys(file(*(entries or (entry(),)))).verify([authorization], NOW)


# The file


def test_a_key_has_its_defaults() -> None:
    found = verify(f"Bearer carom_shop_{SECRET}")
    assert isinstance(found, Key)
    assert (found.tenant, found.name, found.expires_at) == ("default", "", None)
    assert found.granted == {Scope.JOBS_WRITE}


def test_admin_is_every_scope_and_no_other_is() -> None:
    for scope in Scope:
        key = Key("a", "0" * 64, [scope])
        assert key.granted == (ALL_SCOPES if scope is Scope.ADMIN else {scope})


def test_no_keys_are_a_file_too() -> None:
    assert len(parse_keys(b'{"keys": []}')) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `keys`"),
        (b'{"keys": [], "key": 1}', "unknown field `key`"),
        (b"[" * 100_000, ""),
        (b'{"keys": ["\xff"]}', ""),
        (file(entry(), entry()), "the id shop is given twice - at `$.keys[1]`"),
        (file(entry(scopes=["jobs:fly"])), "'jobs:fly' - at `$.keys[0].scopes[0]`"),
        (file(entry(scopes=[])), "$.keys[0].scopes"),
        (file(entry(hash="0" * 63)), "$.keys[0].hash"),
        (file(entry(hash="A" * 64)), "$.keys[0].hash"),
        (file(entry(hash="0" * 64 + "\n")), "$.keys[0].hash"),
        (file(entry(), entry(id="b", secret="x")), "unknown field `secret` - at `$.keys[1]`"),
        (file(entry(id="a_b")), "$.keys[0].id"),
        (file(entry(id="-a")), "$.keys[0].id"),
        (file(entry(id="a" * 33)), "$.keys[0].id"),
        (file(entry(tenant="A")), "$.keys[0].tenant"),
        (file(entry(tenant="a" * 64)), "$.keys[0].tenant"),
        (file(entry(expiresAt="2030-01-01T00:00:00")), "$.keys[0].expiresAt"),
        (file(entry(expiresAt="tomorrow")), "$.keys[0].expiresAt"),
        (file(entry(cidrs=["10.0.0.1/8"])), "'10.0.0.1/8' is no CIDR such as 10.0.0.0/8"),
        (file(entry(cidrs="::/0")), "$.keys[0].cidrs"),
        (file(entry(rate={"perSecond": 0})), "$.keys[0].rate.perSecond"),
        (file(entry(rate={"perSecond": 1, "burst": 0})), "$.keys[0].rate.burst"),
    ],
)
def test_a_bad_file_is_one_line_that_says_where(text: bytes, words: str) -> None:
    with pytest.raises(InvalidKeys) as caught:
        parse_keys(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value)


# Who is let in


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_the_scheme_is_of_any_case(scheme: str) -> None:
    assert isinstance(verify(f"{scheme}carom_shop_{SECRET}"), Key)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic carom_shop_{SECRET}",
        f"carom_shop_{SECRET}",
        f"Bearer carom_shop_{SECRET[1:]}",
        f"Bearer carom_shop_{SECRET}-",
        f"Bearer carom_shop_{SECRET}\n",
        f"Bearer carom_shop_{SECRET} x",
        f"Bearer Carom_shop_{SECRET}",
        f"Bearer carom_Shop_{SECRET}",
        f"Bearer carom__{SECRET}",
        f"Bearer carom_a_b_{SECRET}",
        f"Bearer carom_shop_{'ä' * 32}",
        "Bearer carom_shop_" + "a" * 100_000,
    ],
)
def test_what_is_no_token(authorization: str) -> None:
    assert verify(authorization) is Refusal.MALFORMED


def test_no_header_and_two_headers() -> None:
    keys = parse_keys(file(entry()))
    assert keys.verify([], NOW) is Refusal.MISSING
    assert keys.verify([f"Bearer carom_shop_{SECRET}"] * 2, NOW) is Refusal.MALFORMED


def test_an_unknown_id_and_a_wrong_secret_are_the_same() -> None:
    assert verify(f"Bearer carom_other_{SECRET}") is Refusal.UNKNOWN
    assert verify(f"Bearer carom_shop_{SECRET[::-1]}") is Refusal.UNKNOWN


def test_a_key_ends_at_its_time() -> None:
    for before, expected in ((timedelta(seconds=1), False), (timedelta(0), True), (-timedelta(days=9), True)):
        found = verify(f"Bearer carom_shop_{SECRET}", entry(expiresAt=(NOW + before).isoformat()))
        assert (found is Refusal.EXPIRED) == expected


def test_its_addresses_are_known_only_with_its_secret() -> None:
    narrow = entry(cidrs=["10.0.0.0/8"])
    assert verify(f"Bearer carom_shop_{'x' * 32}", narrow) is Refusal.UNKNOWN
    assert verify(f"Bearer carom_shop_{SECRET}", narrow) is Refusal.ADDRESS


def test_that_it_expired_is_known_only_with_its_secret() -> None:
    assert verify(f"Bearer carom_shop_{'x' * 32}", entry(expiresAt="2029-01-01T00:00:00Z")) is Refusal.UNKNOWN


@pytest.mark.parametrize(
    "authorization", [[], ["Bearer x"], [f"Bearer carom_other_{SECRET}"], [f"Bearer carom_shop_{SECRET}"]]
)
def test_every_answer_costs_one_hash_and_one_comparison(
    authorization: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed, compared = [], []

    def hash_of(secret: str) -> str:
        hashed.append(secret)
        return hashlib.sha256(secret.encode()).hexdigest()

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    real = hmac.compare_digest
    monkeypatch.setattr(module, "hash_of", hash_of)
    monkeypatch.setattr(hmac, "compare_digest", compare)
    parse_keys(file(entry(expiresAt="2029-01-01T00:00:00Z"))).verify(authorization, NOW)
    assert len(hashed) == 1
    assert compared == [(64, 64)]


@given(st.text(ALPHABET, min_size=32, max_size=128), st.text(ALPHABET, min_size=32, max_size=128))
def test_a_secret_proves_its_own_hash_alone(secret: str, other: str) -> None:
    keys = parse_keys(file(entry(hash=hashlib.sha256(secret.encode()).hexdigest())))
    assert isinstance(keys.verify([f"Bearer carom_shop_{secret}"], NOW), Key)
    assert isinstance(keys.verify([f"Bearer carom_shop_{other}"], NOW), Key) == (secret == other)


@given(st.lists(st.text(max_size=60), max_size=3))
def test_any_text_is_refused_in_order(authorization: list[str]) -> None:
    assert isinstance(parse_keys(file(entry())).verify(authorization, NOW), Refusal)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_file_is_keys_or_invalid(text: bytes) -> None:
    with contextlib.suppress(InvalidKeys):
        parse_keys(text)


# Making one


@given(st.from_regex(module.ID, fullmatch=True), st.from_regex(module.TENANT, fullmatch=True))
def test_a_new_key_goes_through_the_file(key_id: str, tenant: str) -> None:
    made = new_key(key_id, tenant, [Scope.JOBS_READ], "one", NOW + timedelta(days=1))
    keys = parse_keys(b'{"keys": [%s]}' % msgspec.json.encode(made.key))
    assert keys.verify([f"Bearer {made.token}"], NOW) == made.key
    assert made.token.rpartition("_")[2] not in str(made.key)


def test_make_key_takes_addresses_and_a_rate(capsys: pytest.CaptureFixture[str]) -> None:
    make_key.main(["--id", "a", "--scope", "admin", "--cidr", "10.0.0.0/8", "--cidr", "::1", "--rate", "2.5"])
    output = capsys.readouterr()
    made = json.loads(output.out)
    assert (made["cidrs"], made["rate"]) == (["10.0.0.0/8", "::1"], {"perSecond": 2.5})
    keys = parse_keys(file(made))
    token = f"Bearer {output.err.strip()}"
    assert isinstance(keys.verify([token], NOW, lambda: parse_address("10.9.9.9")), Key)
    assert keys.verify([token], NOW, lambda: parse_address("11.0.0.1")) is Refusal.ADDRESS
    assert keys.verify([token], NOW) is Refusal.ADDRESS, "from nobody knows where"


def test_make_key_prints_the_entry_and_the_token_apart(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--id", "shop", "--tenant", "web", "--scope", "jobs:write", "--scope", "jobs:read", "payloads:read"]
    make_key.main([*arguments, "--expires-at", "2031-01-31T00:00:00Z"])
    output = capsys.readouterr()
    made = json.loads(output.out)
    assert made["scopes"] == ["jobs:write", "jobs:read", "payloads:read"]
    assert (made["id"], made["tenant"], made["expiresAt"]) == ("shop", "web", "2031-01-31T00:00:00Z")
    found = parse_keys(file(made)).verify([f"Bearer {output.err.strip()}"], NOW)
    assert isinstance(found, Key)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--id", "A"),
        ("--tenant", "a_b"),
        ("--scope", "fly"),
        ("--expires-at", "2031-01-31"),
        ("--cidr", "10.0.0.1/8"),
        ("--rate", "0"),
        ("--rate", "nan"),
        ("--other", "1"),
    ],
)
def test_make_key_says_what_is_wrong(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        make_key.main(["--id", "a", "--scope", "admin", option, value])
    assert ended.value.code == 2
    assert value in capsys.readouterr().err.splitlines()[-1]
