"""What strangers send: good examples, good examples that were damaged, and noise."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

F = TypeVar("F", bound=Callable[..., Any])

QUICK = 60
_SIGNS = (
    "\x00\t\n\r \"'%#&*+,-./0123456789:;<=>?@[\\]^_`{|}~\x7f\x80\xa0\xad\u0130\u017f\u2028\u3002\uff0e\ufeff\U0001f3b1"
)


def fuzz(test: F) -> F:
    """Always the same examples and few of them, unless a profile is asked for."""
    if settings.get_current_profile_name() == "fuzz":
        return test
    return settings(max_examples=QUICK, derandomize=True, deadline=None, database=None)(test)


def noise(most: int = 200) -> st.SearchStrategy[str]:
    """Text in which what has a meaning somewhere is more frequent than in Unicode."""
    return st.text(st.sampled_from(_SIGNS) | st.characters(codec="utf-8"), max_size=most)


@st.composite
def damaged(draw: st.DrawFn, good: Sequence[str]) -> str:
    """One of the good texts after up to four cuts, repeats and insertions."""
    text = draw(st.sampled_from(good))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 12)))
        other = draw(st.sampled_from(good))
        piece = draw(st.sampled_from(["", text[start:end] * 2, other[start:end], other]) | noise(4))
        text = text[:start] + piece + text[end:]
    return text


def texts(*good: str) -> st.SearchStrategy[str]:
    return damaged(good) | noise()


@st.composite
def damaged_bytes(draw: st.DrawFn, good: Sequence[bytes]) -> bytes:
    """The same for bytes."""
    data = draw(st.sampled_from(good))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 16)))
        other = draw(st.sampled_from(good))
        piece = draw(st.sampled_from([b"", data[start:end] * 2, other[start:end]]) | st.binary(max_size=6))
        data = data[:start] + piece + data[end:]
    return data


def bodies(*good: bytes) -> st.SearchStrategy[bytes]:
    return damaged_bytes(good) | st.binary(max_size=200)
