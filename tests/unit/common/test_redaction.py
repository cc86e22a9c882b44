"""What is sent but never shown."""

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from carom_common.contracts.job import Job
from carom_common.domain.redaction import REDACTED, also_secret, check_names, is_secret, redacted_payload


@pytest.fixture
def more_names() -> Iterator[None]:
    also_secret(["X-Customer", "x-internal-*"])
    yield
    also_secret([])


@pytest.mark.usefixtures("more_names")
def test_an_operator_adds_names_and_patterns() -> None:
    for name in ("X-Customer", "x-customer", "X-Internal-Anything", "Authorization"):
        assert is_secret(name)
    for name in ("X-Customers", "Ax-Internal-B", "Content-Type", "Idempotency-Key"):
        assert not is_secret(name)


def test_by_default_they_are_not_secret() -> None:
    assert not is_secret("X-Customer")


@pytest.mark.parametrize("names", [["X Y"], [""], ["X:"], ["x"] * 101, ["x" * 257]])
def test_what_can_be_no_name_is_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="name"):
        check_names(names)


@pytest.mark.parametrize(
    ("payload", "pointers", "shown"),
    [
        ('{"a":1,"b":2}', ["/a"], '{"a":"[redacted]","b":2}'),
        ('{"a":{"b":[1,2,{"c":3}]}}', ["/a/b/2/c", "/a/b/0"], '{"a":{"b":["[redacted]",2,{"c":"[redacted]"}]}}'),
        ('{"a":{"b":1}}', ["/a/b", "/a"], '{"a":"[redacted]"}'),
        ('{"a":{"b":1}}', ["/a", "/a/b"], '{"a":"[redacted]"}'),
        ('{"a/b":1,"m~n":2,"":3,"~1":4}', ["/a~1b", "/m~0n", "/", "/~01"], "all"),
        ('{"/":{"x":1}}', ["/~1/x"], '{"/":{"x":"[redacted]"}}'),
        ('{"a":1}', ["/b", "/a/b", "/0"], '{"a":1}'),
        ("[1,2]", ["/2", "/-", "/01", "/+1", "/\u0661"], "[1,2]"),
        ("7", ["/a"], "7"),
        ("null", ["/a"], "null"),
        (' {"a": 1.10, "b": 1e400, "c": 123456789012345678901234567890, "d": 5}', ["/d"],
         '{"a":1.10,"b":1e400,"c":123456789012345678901234567890,"d":"[redacted]"}'),
        ('{"a":1,"a":2}', ["/a"], '{"a":"[redacted]"}'),
        ('"text"', [""], '"[redacted]"'),
        ('{"a"', ["/a"], '"[redacted]"'),
    ],
)  # fmt: skip
def test_places_of_a_payload(payload: str, pointers: list[str], shown: str) -> None:
    found = bytes(redacted_payload(Raw(payload.encode()), pointers)).decode()
    if shown == "all":
        assert set(msgspec.json.decode(found).values()) == {REDACTED}
    else:
        assert found.replace(" ", "") == shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, st.lists(st.text("/~01ab", max_size=6).map(lambda text: text.replace("~", "~0")), max_size=3))
def test_whatever_is_named_nothing_else_changes(document: object, paths: list[str]) -> None:
    pointers = ["/" + path if path else "" for path in paths]
    shown = msgspec.json.decode(redacted_payload(Raw(msgspec.json.encode(document)), pointers))
    expected = document
    for pointer in sorted(pointers, key=len, reverse=True):
        expected = _naive(expected, [s.replace("~1", "/").replace("~0", "~") for s in pointer.split("/")[1:]])
    assert shown == expected


def _naive(value: object, steps: list[str]) -> object:
    if not steps:
        return REDACTED
    first, *rest = steps
    if isinstance(value, dict) and first in value:
        return value | {first: _naive(value[first], rest)}
    if isinstance(value, list) and first in {str(i) for i in range(len(value))}:
        return [_naive(item, rest) if str(i) == first else item for i, item in enumerate(value)]
    return value


@pytest.mark.parametrize("pointer", ["a", "/~", "/~2", "/a~", "x/", "/" * 33, "/" + "a" * 512, "/a\n~"])
def test_what_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"targetUrl": "http://t.example", "redact": [pointer]}, Job)


@pytest.mark.parametrize("pointer", ["", "/", "/a/b", "/~0/~1", "/" * 32, "/a\nb"])
def test_pointers(pointer: str) -> None:
    assert msgspec.convert({"targetUrl": "http://t.example", "redact": [pointer]}, Job).redact == (pointer,)
