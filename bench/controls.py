"""What security costs: CPU a job with every control on beside none, and with encryption or TLS on top."""

import base64
import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.bursts import Way
from bench.ways import Ways, compare
from carom_common.contracts.message import DEFAULT_TENANT
from carom_common.domain.signatures import new_private_key
from carom_intake.domain.keys import KeyRate, Scope, encode_key, new_key

GOAL_PERCENT = 10
PLENTY = 100_000
"""Limits that are looked at for each request and never reached."""
JOB_HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer of-the-target"}
OFF = {"CAROM_CALLBACK_SECRET": "", "CAROM_AUTH": "off"}
RULES = {
    "*": {"targets": [], "callbacks": []},
    DEFAULT_TENANT: {
        "targets": ["api.example.com", "*.example.com", "127.0.0.0/8"],
        "callbacks": ["*.example.com", "127.0.0.0/8"],
        "headers": {"allow": ["Authorization", "Content-Type", "X-*"], "block": ["Cookie", "X-Forwarded-*"]},
    },
}


def measure(rounds: int) -> dict[str, Any]:
    """All ways in turns; the figures are means."""
    return compare("Security controls", WAYS, rounds, "all", GOAL_PERCENT)


def _none(_: Path) -> Way:
    return Way(OFF, {}, {"headers": JOB_HEADERS})


def _all(directory: Path) -> Way:
    """What a job passes on its way in and out: a key with addresses, an end and a rate, quotas, rules for hosts, ports
    and headers, redaction, and two signatures on the call as on the callback."""
    key = new_key(
        "bench", DEFAULT_TENANT, list(Scope), expires_at=datetime.now(UTC) + timedelta(days=1),
        cidrs=["10.0.0.0/8", "127.0.0.0/8"], rate=KeyRate(PLENTY, PLENTY),
    )  # fmt: skip
    keys, signing = directory / "keys.json", directory / "signing.json"
    keys.write_bytes(b'{"keys":[%b]}' % encode_key(key.key))
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    signing.write_text(json.dumps({DEFAULT_TENANT: [new_private_key()[0], secret]}))
    env = {
        "CAROM_AUTH": "keys",
        "CAROM_KEYS_FILE": str(keys),
        "CAROM_TENANT_JOBS": str(10 * PLENTY),
        "CAROM_TENANT_BYTES": str(10**12),
        "CAROM_TRUSTED_PROXIES": "10.0.0.0/8",
        "CAROM_EGRESS_SCHEMES": "http",
        "CAROM_EGRESS_PORTS": "443,1024-65535",
        "CAROM_EGRESS_RULES": json.dumps(RULES),
        "CAROM_SENSITIVE_HEADERS": "X-Internal-*",
        "CAROM_SIGNING_FILE": str(signing),
        "CAROM_CALLBACK_SECRET": "",
    }
    headers = {"authorization": f"Bearer {key.token}"}
    return Way(env, headers, {"headers": JOB_HEADERS, "redact": ["/hello"], "sign": True})


def _encrypted(directory: Path) -> Way:
    way = _all(directory)
    keys = f"bench:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    return way._replace(env={**way.env, "CAROM_ENCRYPTION_KEYS": keys})


def _tls(directory: Path) -> Way:
    return _all(directory)._replace(tls=True)


WAYS: Ways = {
    "none": _none,
    "all": _all,
    "all, encrypted": _encrypted,
    "all, TLS to the servers": _tls,
}
