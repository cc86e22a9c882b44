"""What is kept of a response's headers."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from carom_common.contracts.message import Timing
from carom_executor.detail import MAX_HEADER_BYTES, MAX_HEADERS, MAX_VALUE_BYTES, detail_of, kept_headers


def test_useful_headers_are_kept_as_they_were_sent() -> None:
    sent = {"Content-Type": "text/plain", "content-length": "3", "X-Request-ID": "7"}
    assert kept_headers(sent) == sent


def test_a_connections_own_and_empty_headers_are_dropped() -> None:
    sent = {"Connection": "keep-alive", "Keep-Alive": "timeout=5", "Transfer-Encoding": "chunked", "X-Empty": ""}
    assert kept_headers(sent) == {}


def test_secrets_are_never_stored() -> None:
    sent = CIMultiDict([("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("X-Auth-Token", "t"), ("Server", "x")])
    assert kept_headers(sent) == {"Set-Cookie": "[redacted]", "X-Auth-Token": "[redacted]", "Server": "x"}


def test_repeated_headers_are_joined_under_their_first_spelling() -> None:
    sent = CIMultiDict([("Via", "1.1 a"), ("A", "b"), ("via", "1.1 c")])
    assert kept_headers(sent) == {"Via": "1.1 a, 1.1 c", "A": "b"}


@pytest.mark.parametrize("character", ["x", "ü", "€"])
def test_a_long_value_is_cut_and_marked(character: str) -> None:
    (value,) = kept_headers({"X-Long": character * 2000}).values()
    assert value.endswith(" [cut]")
    assert MAX_VALUE_BYTES - 4 < len(value.encode()) <= MAX_VALUE_BYTES
    assert kept_headers({"X": "y" * MAX_VALUE_BYTES}) == {"X": "y" * MAX_VALUE_BYTES}


def test_there_is_a_bound_on_their_number_and_their_size() -> None:
    assert len(kept_headers({f"X-{number}": "1" for number in range(200)})) == MAX_HEADERS
    kept = kept_headers({f"X-{number}": "1" * 900 for number in range(20)})
    assert 0 < sum(len(name) + len(value) for name, value in kept.items()) <= MAX_HEADER_BYTES


@given(st.lists(st.tuples(st.text(max_size=30), st.text(st.characters(), max_size=3000)), max_size=100))
def test_whatever_is_sent_can_be_stored(sent: list[tuple[str, str]]) -> None:
    kept = detail_of(Timing(), None, CIMultiDict(sent))
    assert len(msgspec.json.encode(kept)) < 8 * MAX_HEADER_BYTES
    assert sum(len(name) + len(value.encode()) for name, value in kept.response_headers.items()) <= MAX_HEADER_BYTES


def test_lone_surrogates_become_question_marks() -> None:
    assert kept_headers({"X": "a\udce9b"}) == {"X": "a?b"}
