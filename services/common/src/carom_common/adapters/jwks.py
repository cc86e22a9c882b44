"""Fetching the public keys of an identity provider."""

import asyncio

import httpx

from carom_common.tls import TlsFiles, client_context

FETCH_SECONDS = 5.0
MAX_BYTES = 262_144


class KeySetUnavailable(Exception):
    """Says why in one line."""


async def fetch_key_set(url: str, ca_file: str = "") -> bytes:
    """The body of a JWKS, at most 256 KiB, within 5 s; follows no redirect and no proxy of the environment."""
    try:
        verify = client_context(TlsFiles(ca_file)) if url.startswith("https:") else False
        async with (
            asyncio.timeout(FETCH_SECONDS),
            httpx.AsyncClient(trust_env=False, verify=verify, timeout=FETCH_SECONDS) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status_code != 200:
                raise KeySetUnavailable(f"it answered with status {answer.status_code}")
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise KeySetUnavailable(f"its answer is over {MAX_BYTES} bytes")
            return body
    except TimeoutError:
        raise KeySetUnavailable(f"it did not answer within {FETCH_SECONDS:.0f} s") from None
    except (httpx.HTTPError, OSError) as error:
        raise KeySetUnavailable(str(error) or type(error).__name__) from error
