"""Callers with a token of an identity provider in place of an API key.

The provider's keys are fetched beside the requests, never for one: at start, every minute, and soon after a token names
a key that is not known. What was found good is remembered until it ends, so that a request costs a look-up.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from typing import NamedTuple

from jwt import PyJWK

from carom_common.adapters.jwks import KeySetUnavailable, fetch_key_set
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger
from carom_intake.domain.keys import Refusal
from carom_intake.domain.tokens import Bearer, Expected, parse_key_set, verify_token
from carom_intake.keyring import KeysUnknown

REFRESH_SECONDS = 60.0
SOONEST_SECONDS = 2.0
"""Between two fetches, however many tokens name keys that nobody knows."""
STALE_SECONDS = 86_400.0
"""How long keys count that could not be fetched again: a key that was withdrawn meanwhile is among them."""
MAX_REMEMBERED = 10_000

log = get_logger()


class Provider(NamedTuple):
    """Where the keys are."""

    jwks_url: str
    ca_file: str = ""


class Oidc:
    """Tokens of one provider."""

    def __init__(self, provider: Provider, expected: Expected) -> None:
        self._provider = provider
        self._expected = expected
        self._keys: dict[str, PyJWK] = {}
        self._text = b""
        self._fetched = -STALE_SECONDS
        self._wanted = asyncio.Event()
        self._good: OrderedDict[bytes, Bearer] = OrderedDict()
        self._away = False

    def verify(self, token: str) -> Bearer | Refusal:
        """Whom the token names. Raises KeysUnknown where the provider's keys are not known (any more)."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._good.get(digest)
        if known is not None and known.expires > time.time():
            return known
        if time.monotonic() > self._fetched + STALE_SECONDS:
            raise KeysUnknown
        found = verify_token(token, self._keys, self._expected)
        if isinstance(found, Bearer):
            self._good[digest] = found
            if len(self._good) > MAX_REMEMBERED:
                self._good.popitem(last=False)
        elif found is Refusal.UNKNOWN_KEY:
            self._wanted.set()
        return found

    async def watch(self) -> None:
        """Keep the keys fresh; until cancelled."""
        while True:
            self._wanted.clear()
            await self.fetch()
            await asyncio.sleep(SOONEST_SECONDS)
            try:
                async with asyncio.timeout(REFRESH_SECONDS if self._keys else 0):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    async def fetch(self) -> None:
        """Ask once. What was known stays in force where that fails."""
        try:
            text = await fetch_key_set(*self._provider)
            keys = parse_key_set(text) if text != self._text else self._keys
        except (KeySetUnavailable, ValueError) as error:
            if not self._away:
                log.warning("oidc_keys_away", reason=str(error), kept=len(self._keys))
            self._away = True
            return
        self._fetched, self._away = time.monotonic(), False
        metrics.oidc_keys_at.set(time.time())
        if text != self._text:
            self._text, self._keys = text, keys
            self._good.clear()  # some may be signed by a key that is gone
            log.info("oidc_keys_loaded", count=len(keys))
