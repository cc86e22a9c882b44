"""`carom-intake make-signing-key`: a new ed25519 pair that signs callbacks. Nothing is stored."""

import argparse
import sys
from collections.abc import Sequence

from carom_common.domain.signatures import new_private_key

_DESCRIPTION = (
    "Makes a pair of keys: the public one, for receivers, on standard output; the private one, for the file that "
    "CAROM_SIGNING_FILE names, on standard error."
)


def main(arguments: Sequence[str]) -> None:
    argparse.ArgumentParser(prog="carom-intake make-signing-key", description=_DESCRIPTION).parse_args(arguments)
    private, public = new_private_key()
    print(private, file=sys.stderr)  # noqa: T201
    print(public)  # noqa: T201
