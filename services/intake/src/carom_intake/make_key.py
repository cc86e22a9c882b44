"""`carom-intake make-key`: a new API key, for the file that CAROM_KEYS_FILE names. Nothing is stored."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from carom_common.contracts.message import DEFAULT_TENANT
from carom_intake.domain.addresses import parse_networks
from carom_intake.domain.keys import ID, TENANT, KeyRate, Scope, new_key

_DESCRIPTION = (
    "Makes an API key: its entry for the file on standard output, its token, kept nowhere, on standard error."
)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="carom-intake make-key", description=_DESCRIPTION)
    parser.add_argument("--id", required=True, type=_matching(ID), help="what the key is called in its token")
    parser.add_argument(
        "--scope", required=True, nargs="+", action="extend", choices=[scope.value for scope in Scope],
        help="what it may do",
    )  # fmt: skip
    parser.add_argument("--tenant", default=DEFAULT_TENANT, type=_matching(TENANT), help="whose jobs it sees")
    parser.add_argument("--name", default="", help="for people")
    parser.add_argument("--expires-at", type=_time, help="RFC 3339, such as 2031-01-31T00:00:00Z")
    parser.add_argument("--cidr", action="append", default=[], type=_cidr, help="where it counts; repeated")
    parser.add_argument("--rate", type=_positive, help="requests a second that it may make")
    given = parser.parse_args(arguments)
    scopes = [Scope(scope) for scope in given.scope]
    rate = KeyRate(given.rate) if given.rate else None
    made = new_key(given.id, given.tenant, scopes, given.name, given.expires_at, given.cidr, rate)
    print(made.token, file=sys.stderr)  # noqa: T201
    print(msgspec.json.encode(made.key).decode())  # noqa: T201


def _matching(pattern: str) -> Callable[[str], str]:
    """A type of argparse."""

    def matching(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{text!r} does not match {pattern}")
        return text

    return matching


def _cidr(text: str) -> str:
    try:
        parse_networks([text])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _positive(text: str) -> float:
    try:
        found: float = msgspec.convert(float(text), Annotated[float, msgspec.Meta(ge=0.01, le=100_000)])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0.01 to 100000") from None
    return found


def _time(text: str) -> datetime:
    try:
        found: datetime = msgspec.convert(text, Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time of RFC 3339 with its zone") from None
    return found
