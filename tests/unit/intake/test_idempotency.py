"""Which headers are an Idempotency-Key, and what a batch is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carom_intake.domain.batch import parse_batch
from carom_intake.domain.idempotency import InvalidKey, fingerprint, key_in
from carom_intake.domain.submission import InvalidSubmission


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        (" 8e03978e-40d5-43dd-bc93-6894a57f9324 ", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (r'"a\"b\\c"', r'a"b\c'),
        ('a"b', 'a"b'),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
        (r'"' + r"\\" * 255 + '"', "\\" * 255),
    ],
)
def test_a_key_is_quoted_or_bare(value: str, key: str) -> None:
    assert key_in([value]) == key


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        '""',
        '"',
        '"a',
        'a"b"c' + "x" * 255,
        '"a" b',
        '"a";p=1',
        '"a b"',
        r'"a\b"',
        "a b",
        "ä",
        "a\x00",
        "x" * 256,
    ],
)
def test_anything_else_is_refused(value: str) -> None:
    with pytest.raises(InvalidKey, match="Idempotency-Key must be 1 to 255"):
        key_in([value])


def test_one_header_at_most() -> None:
    assert key_in([]) is None
    with pytest.raises(InvalidKey):
        key_in(["a", "a"])


@given(st.text(max_size=300))
def test_no_header_breaks_it(text: str) -> None:
    try:
        key = key_in([text])
    except InvalidKey:
        return
    assert key is not None
    assert 1 <= len(key) <= 255


def test_path_and_body_are_compared() -> None:
    assert fingerprint("/a", b"b") == fingerprint("/a", b"b")
    assert len({fingerprint(path, body) for path in ("/a", "/b") for body in (b"{}", b"{ }")}) == 4


def batch_problems(body: Any) -> dict[str, str]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidSubmission) as caught:
        parse_batch(text)
    return {problem.pointer: problem.detail for problem in caught.value.problems}


def test_a_batch_keeps_each_job_as_it_came() -> None:
    batch = parse_batch(b'{"jobs": [{"a": 1 }, 5, "x"], "atomic": true}')
    assert batch == ([b'{"a": 1 }', b"5", b'"x"'], True)
    assert parse_batch(json.dumps({"jobs": [{}] * 1000}).encode()).atomic is False


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b"", [""]),
        (b"[]", [""]),
        (b'{"jobs": [{]}', [""]),
        (b'{"jobs": [' + b"[" * 100_000, [""]),
        ({}, ["/jobs"]),
        ({"jobs": []}, ["/jobs"]),
        ({"jobs": {}}, ["/jobs"]),
        ({"jobs": None}, ["/jobs"]),
        ({"jobs": [{}] * 1001}, ["/jobs"]),
        ({"jobs": [{}], "atomic": "yes"}, ["/atomic"]),
        ({"jobs": [{}], "a/b": 1}, ["/a~1b"]),
        ({"jobs": 5, "atomic": None, "x": 1}, ["/x", "/jobs", "/atomic"]),
    ],
)
def test_what_is_no_batch(body: Any, pointers: list[str]) -> None:
    assert list(batch_problems(body)) == pointers


def test_the_limit_is_named() -> None:
    assert batch_problems({"jobs": [{}] * 1001})["/jobs"] == "has 1001 jobs, 1 to 1000 are taken"


@given(st.binary(max_size=200))
def test_no_body_breaks_the_parser(body: bytes) -> None:
    with pytest.raises(InvalidSubmission):
        parse_batch(body)
