import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carom_common.contracts.job import Status
from carom_common.domain.cursor import BadCursor, Position, decode_cursor, encode_cursor
from carom_common.domain.filters import Filter

AT = Position(1_700_000_000_000, "0b1c4b7e-9d3c-4f5a-8a51-3f1f0b9ce001")


@given(st.integers(0, 2**53 - 1), st.uuids())
def test_a_cursor_comes_back_as_it_was(created: int, job_id: object) -> None:
    at = Position(created, str(job_id))
    assert decode_cursor(encode_cursor(at, "f"), "f") == at


def test_a_cursor_of_another_question_is_refused() -> None:
    asked = Filter(status=(Status.FAILED,)).fingerprint("a")
    cursor = encode_cursor(AT, asked)
    for other in (
        Filter().fingerprint("a"),
        Filter(status=(Status.FAILED,)).fingerprint("b"),
        Filter(status=(Status.FAILED,), kind="execute").fingerprint("a"),
    ):
        with pytest.raises(BadCursor, match="other filters"):
            decode_cursor(cursor, other)


def test_the_same_question_in_other_order_is_the_same() -> None:
    one = Filter(status=(Status.FAILED, Status.EXPIRED), labels={"a": "1", "b": "2"})
    other = Filter(status=(Status.EXPIRED, Status.FAILED), labels={"b": "2", "a": "1"})
    assert one.fingerprint("t") == other.fingerprint("t")


def of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é",
        "%%%",
        "A" * 300,
        of("[]"),
        of("{}"),
        of('[1,-1,"a","f"]'),
        of('[1,1,"","f"]'),
        of('[1,1.5,"a","f"]'),
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        decode_cursor(text, "f")


@given(st.text(max_size=80))
def test_nothing_but_bad_cursor_comes_of_any_text(text: str) -> None:
    with pytest.raises(BadCursor):
        decode_cursor(text, "f")


def test_another_version_says_so() -> None:
    with pytest.raises(BadCursor, match="version"):
        decode_cursor(of('[2,1,"a","f"]'), "f")
