"""What is kept at rest: opened by who has the key, and by nobody else."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from carom_common.contracts import sealing
from carom_common.contracts.job import Job
from carom_common.contracts.message import (
    VERSION,
    CallbackMessage,
    ExecuteMessage,
    Undecodable,
    body_of,
    decode_callback,
    decode_execute,
)
from carom_common.contracts.sealing import CLEAR, SEALED, SealingKey, Unsealable, Vault, parse_sealing_keys

OLD, NEW = SealingKey("old", b"o" * 32), SealingKey("new", b"n" * 32)
JOB = Job("http://t.example/?token=hunter2", None, headers={"X-A": "hunter2"}, payload=Raw(b'"hunter2"'))


def message(job_id: str = "job-1") -> ExecuteMessage:
    return ExecuteMessage(VERSION, "default", job_id, JOB, 1)


def test_what_is_sealed_shows_nothing_and_never_twice_the_same() -> None:
    vault = Vault([OLD])
    sealed = [vault.seal("job-1", b'{"a":"hunter2"}') for _ in range(2)]
    assert sealed[0] != sealed[1]
    for value in sealed:
        assert b"hunter2" not in base64.b64decode(value[1:])
        assert vault.open("job-1", value) == b'{"a":"hunter2"}'
    body = body_of(message(), vault)
    assert body.startswith(SEALED)
    assert b"hunter2" not in body
    assert decode_execute(body, vault) == message()


def test_a_rotation() -> None:
    """First all learn the new key, then it comes first, then the old one goes: each reads the one before it."""
    before, learnt, changed, after = Vault([OLD]), Vault([OLD, NEW]), Vault([NEW, OLD]), Vault([NEW])
    for writer, readers in (
        (before, (before, learnt, changed)),
        (learnt, (before, learnt, changed)),
        (changed, (learnt, changed, after)),
    ):
        for reader in readers:
            assert reader.open("job-1", writer.seal("job-1", b"x")) == b"x"
            assert decode_execute(body_of(message(), writer), reader) == message()
    with pytest.raises(Unsealable, match="'old', which is not among CAROM_ENCRYPTION_KEYS"):
        after.open("job-1", before.seal("job-1", b"x"))
    with pytest.raises(Undecodable, match=r"cannot be opened.*'old'"):
        decode_execute(body_of(message(), before), after)


def test_what_was_written_without_keys_is_read_with_them_and_not_the_other_way_round() -> None:
    vault = Vault([NEW])
    assert vault.open("job-1", CLEAR.seal("job-1", b'{"a":1}')) == b'{"a":1}'
    assert decode_execute(body_of(message(), CLEAR), vault) == message()
    with pytest.raises(Unsealable):
        CLEAR.open("job-1", vault.seal("job-1", b"x"))
    with pytest.raises(Undecodable):
        decode_execute(body_of(message(), vault), CLEAR)


def test_keys_are_brought_in_and_taken_out_by_way_of_clear() -> None:
    """Whoever has no key parks what is sealed: so all learn it before the first of them seals."""
    key = f"new:{base64.b64encode(NEW.key).decode()}"
    learning = Vault(parse_sealing_keys(f"clear, {key}"))
    assert not learning.seals
    assert learning.seal("job-1", b"{}") == b"{}"
    assert CLEAR.open("job-1", learning.seal("job-1", b"{}")) == b"{}"
    assert learning.open("job-1", Vault([NEW]).seal("job-1", b"{}")) == b"{}"
    with pytest.raises(ValueError, match="32 bytes"):
        parse_sealing_keys(f"{key},clear")


def test_a_value_of_one_job_passes_for_none_of_another() -> None:
    vault = Vault([NEW])
    with pytest.raises(Unsealable):
        vault.open("job-2", vault.seal("job-1", b"x"))
    body = body_of(message("job-1"), vault)
    with pytest.raises(Undecodable):
        decode_execute(body.replace(b"job-1", b"job-2", 1), vault)
    with pytest.raises(Undecodable, match="another job"):
        decode_execute(
            vault.seal_message("job-2", CLEAR.seal_message("job-1", body_of(message("job-1"), CLEAR))), vault
        )


def test_two_keys_of_one_id_are_told_apart() -> None:
    other = Vault([SealingKey("new", b"x" * 32)])
    with pytest.raises(Unsealable, match="'new'"):
        other.open("job-1", Vault([NEW]).seal("job-1", b"x"))


def test_a_callback_message_too() -> None:
    vault = Vault([NEW])
    told = CallbackMessage(VERSION, "default", "job-1", JOB, 1, "completed", 2)
    body = body_of(told, vault)
    assert decode_callback(body, vault) == told
    with pytest.raises(Undecodable):
        decode_callback(body)


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x01", b"\x01\x05job-1", b"\x01\x05job-1\x03new", b"~"]))
def test_whatever_comes_is_opened_or_refused(tail: bytes, head: bytes) -> None:
    """A poisoned message is parked: nothing but Undecodable, whatever is in it."""
    vault = Vault([NEW])
    for decode in (decode_execute, decode_callback):
        with pytest.raises(Undecodable):
            decode(head + tail, vault)
    try:
        assert vault.open("job-1", head + tail) == head + tail
    except Unsealable:
        assert head == b"~" or tail.startswith(b"~")


def test_every_bit_is_authenticated() -> None:
    vault = Vault([NEW])
    body = vault.seal_message("job-1", b"{}")
    for at in range(1, len(body)):
        with pytest.raises(Unsealable):
            vault.open_message(body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :])


def test_the_randomness_of_a_key_is_not_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After as many values as random nonces are good for, a process derives another key."""
    monkeypatch.setattr(sealing, "_SEALS_OF_A_SALT", 2)
    vault = Vault([NEW])
    heads = {base64.b64decode(vault.seal("j", b"x")[1:])[: 1 + 3 + 16] for _ in range(6)}
    assert len(heads) == 3


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "a:",
        "a:" + "A" * 43,
        "a:aHVudGVyMg==",
        ":" + "A" * 43 + "=",
        "a b:" + "A" * 43 + "=",
        "a:" + "A" * 42 + "===",
    ],
)
def test_a_bad_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="32 bytes in base64") as refused:
        parse_sealing_keys(text)
    assert "hunter2" not in str(refused.value)
    assert "aHVudGVyMg" not in str(refused.value)


def test_keys_have_ids_of_their_own_and_a_bound() -> None:
    key = base64.b64encode(b"k" * 32).decode()
    assert parse_sealing_keys(f" a:{key} , b:{key},") == (SealingKey("a", b"k" * 32), SealingKey("b", b"k" * 32))
    assert parse_sealing_keys("") == ()
    with pytest.raises(ValueError, match="twice"):
        parse_sealing_keys(f"a:{key},a:{key}")
    with pytest.raises(ValueError, match="at most 16"):
        parse_sealing_keys(",".join(f"k{n}:{key}" for n in range(17)))


def test_json_begins_with_no_mark_of_what_is_sealed() -> None:
    values: tuple[object, ...] = ({}, [], "~", 1, None, "\x01")
    for value in values:
        assert not json.dumps(value).encode().startswith((b"~", SEALED))
