"""No parser takes more than linear time: 64 KiB, more than any header may have, is nothing to wait for."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from carom_common.domain.backoff import retry_after_ms
from carom_common.domain.clock import parse_rfc3339
from carom_common.domain.cursor import decode_cursor
from carom_common.domain.destinations import destination_of
from carom_common.domain.happening import Position
from carom_common.domain.rules import parse_host
from carom_intake.domain.batch import parse_batch
from carom_intake.domain.checks import header_problems, url_problems
from carom_intake.domain.idempotency import key_in
from carom_intake.domain.keys import Keys
from carom_intake.domain.listing import parse_query
from carom_intake.domain.prefer import wait_seconds
from carom_intake.domain.submission import parse_submission

SIZE = 65_536
SECONDS = 3.0
"""What is quadratic takes minutes; what is linear takes milliseconds, also on a machine that is busy."""
PIECES = [
    "a",
    " ",
    "\t",
    '"',
    '"\\',
    "=",
    ",",
    ";",
    "\\",
    "(",
    "((",
    "-",
    "1",
    "0",
    ":",
    ".",
    "%",
    "[",
    "{",
    "/",
    '{"a":',
    "é",
    "a=b,",
    "+0000 ",
]
PARSERS: dict[str, Callable[[str], Any]] = {
    "Retry-After": lambda text: retry_after_ms(text, 0),
    "RFC 3339": parse_rfc3339,
    "cursor": lambda text: decode_cursor(text, ""),
    "destination": destination_of,
    "Last-Event-ID": Position.parse,
    "host": parse_host,
    "header name": lambda text: list(header_problems("", {text: "x"})),
    "header value": lambda text: list(header_problems("", {"x": text})),
    "URL": lambda text: list(url_problems("", text)),
    "Idempotency-Key": lambda text: key_in([text]),
    "Authorization": lambda text: Keys().verify(["Bearer" + text], None),  # type: ignore[arg-type]
    "query": lambda text: parse_query([("label", text), ("status", text), ("limit", text)]),
    "Prefer": lambda text: wait_seconds([text]),
    "job": lambda text: parse_submission(b'{"targetUrl":' + text.encode(), 0),
    "batch": lambda text: parse_batch(b'{"jobs":[' + text.encode()),
}


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
def test_no_input_takes_long(parse: Callable[[str], Any]) -> None:
    slow = []
    for piece in PIECES:
        for text in (
            piece * (SIZE // len(piece)),
            '"' + piece * (SIZE // len(piece)),
            piece * (SIZE // len(piece)) + "\x00",
        ):
            started = time.process_time()
            with contextlib.suppress(ValueError):
                parse(text)
            if time.process_time() - started > SECONDS:
                slow.append(piece)
    assert slow == []
