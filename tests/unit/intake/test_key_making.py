"""Keys that are made through the API: what their maker may give, and what is kept of them."""

import json
from datetime import UTC, datetime

import pytest

from carom_intake.domain.key_making import KeyAsked, beyond, key_document, made_key, parse_key_asked
from carom_intake.domain.keys import (
    ALL_SCOPES,
    Key,
    Keys,
    Refusal,
    Scope,
    encode_key,
    new_secret,
    parse_stored,
    token_of,
)
from carom_intake.domain.submission import InvalidSubmission

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("own", list(Scope))
def test_nobody_gives_a_scope_that_is_not_theirs(own: Scope) -> None:
    granted = Key("a", "0" * 64, [own]).granted
    asked = KeyAsked(tuple(Scope))
    assert set(beyond(asked, granted)) == ALL_SCOPES - granted


def test_a_made_key_proves_itself_and_keeps_no_secret() -> None:
    secret = new_secret()
    body = {"scopes": ["jobs:read", "jobs:read"], "cidrs": ["10.0.0.0/8"], "rate": {"perSecond": 2}}
    key = made_key(parse_key_asked(json.dumps(body).encode(), NOW), secret, "shop", 1, "admin")
    kept = encode_key(key)
    assert secret.encode() not in kept
    stored = parse_stored(kept)
    assert stored == key
    assert stored.scopes == [Scope.JOBS_READ]
    assert secret not in str(key_document(key))
    assert key.hash not in str(key_document(key))
    found = Keys([stored]).verify([f"Bearer {token_of(key.id, secret)}"], NOW)
    assert found is Refusal.ADDRESS
    assert Keys([stored]).verify([f"Bearer {token_of(key.id, new_secret())}"], NOW) is Refusal.UNKNOWN


def test_a_key_with_limits_that_are_not_known_lets_nobody_in() -> None:
    """One that a newer version wrote: to pass over a field could be to pass over a limit."""
    key = made_key(KeyAsked((Scope.JOBS_READ,)), new_secret(), "shop", 1, "admin")
    assert parse_stored(encode_key(key)[:-1] + b',"onlyOnSundays":true}') is None
    assert parse_stored(b"{}") is None
    assert parse_stored(b"x") is None


def test_of_two_with_one_id_that_of_the_file_counts() -> None:
    made = made_key(KeyAsked((Scope.ADMIN,), id="shop"), new_secret(), "shop", 1, "admin")
    of_file = Key("shop", "0" * 64, [Scope.JOBS_READ])
    assert Keys([made, of_file]).by_id["shop"] is of_file


def test_all_problems_come_at_once() -> None:
    body = {
        "scopes": ["jobs:read"],
        "id": "callback",
        "expiresAt": "2029-12-31T23:59:59Z",
        "cidrs": ["::", "10.0.0.1/8"],
    }
    with pytest.raises(InvalidSubmission) as caught:
        parse_key_asked(json.dumps(body).encode(), NOW)
    assert [problem.pointer for problem in caught.value.problems] == ["/id", "/expiresAt", "/cidrs/1"]
