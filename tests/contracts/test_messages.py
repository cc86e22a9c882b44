"""Versions of the services run side by side: what one of them wrote, every later one reads, and writes alike."""

import json
from pathlib import Path

import pytest
from tests.contracts.golden import JOB_ID, MESSAGES, RECORDED

from carom_common.contracts.job import Job, decode_job, encode_job
from carom_common.contracts.message import (
    VERSION,
    Attempt,
    CallbackMessage,
    ExecuteMessage,
    Undecodable,
    decode_attempt,
    decode_callback,
    decode_execute,
    encode,
    encode_attempt,
)
from carom_common.contracts.sealing import Vault, parse_sealing_keys

HERE = Path(__file__).parent
VERSIONS = sorted(folder.name for folder in HERE.glob("v*"))
WRITTEN = [
    (version, path.stem)
    for version in range(1, VERSION + 1)
    for path in sorted((HERE / f"v{version}").glob("*.json"))
    if path.stem in MESSAGES
]
KEY = "golden:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
"""Of nothing but these tests."""


def golden(name: str, version: int = VERSION) -> bytes:
    return (HERE / f"v{version}" / f"{name}.json").read_bytes().rstrip(b"\n")


def decoded(name: str, body: bytes) -> ExecuteMessage | CallbackMessage:
    return decode_execute(body) if name.startswith("execute") else decode_callback(body)


def test_every_version_has_golden_messages() -> None:
    assert VERSIONS[-1] == f"v{VERSION}"
    assert len(VERSIONS) == VERSION
    assert {path.stem for path in (HERE / f"v{VERSION}").glob("*.json")} == {*MESSAGES, *RECORDED}


@pytest.mark.parametrize(("version", "name"), WRITTEN)
def test_what_any_version_wrote_is_read(version: int, name: str) -> None:
    assert decoded(name, golden(name, version)) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_written_is_what_was_written(name: str) -> None:
    """Not less, nor more, nor anything by another name: the version before reads it too."""
    assert encode(MESSAGES[name]) == golden(name)


@pytest.mark.parametrize("name", RECORDED)
def test_records(name: str) -> None:
    value = RECORDED[name]
    if isinstance(value, Job):
        assert decode_job(golden(name)) == value
        assert encode_job(value) == golden(name)
    else:
        assert isinstance(value, Attempt)
        assert decode_attempt(golden(name)) == value
        assert encode_attempt(value) == golden(name)


def test_every_field_is_in_some_golden_message() -> None:
    """Who adds one is told here to write down what it looks like."""
    for kind, prefix in ((ExecuteMessage, "execute"), (CallbackMessage, "callback")):
        seen = {field for name in MESSAGES if name.startswith(prefix) for field in json.loads(golden(name))}
        assert seen == set(kind.__struct_encode_fields__)


@pytest.mark.parametrize("name", MESSAGES)
def test_fields_of_a_later_version_do_not_disturb(name: str) -> None:
    """A field is added with a default and without a new version: who does not know it yet passes over it."""
    body = golden(name)[:-1] + b',"inventedLater":{"a":1}}'
    assert decoded(name, body) == MESSAGES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_a_later_version_is_refused(name: str) -> None:
    document = json.loads(golden(name)) | {"version": VERSION + 1}
    with pytest.raises(Undecodable, match=f"unknown version {VERSION + 1}"):
        decoded(name, json.dumps(document).encode())


def test_a_sealed_message_is_opened() -> None:
    """Its bytes, in hexadecimal, as the first version sealed them."""
    sealed = bytes.fromhex((HERE / "v1" / "execute-first.sealed.hex").read_text())
    vault = Vault(parse_sealing_keys(KEY))
    assert vault.open_message(sealed) == (JOB_ID, golden("execute-first", 1))
    assert decode_execute(sealed, vault) == MESSAGES["execute-first"]
