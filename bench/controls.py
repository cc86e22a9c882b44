"""What security costs: CPU a job with every control on beside none, and with encryption or TLS on top."""

import base64
import json
import secrets
import statistics
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from bench.drain import drain, leftovers, problems
from bench.load import generate
from bench.report import say, table, title
from bench.stand import COMPONENTS, Stand
from bench.usage import cpu_seconds
from carom_common.contracts.message import DEFAULT_TENANT
from carom_common.domain.signatures import new_private_key
from carom_intake.domain.keys import KeyRate, Scope, encode_key, new_key
from devstack.certificates import Authority

JOBS, WARM_UP_JOBS = 6000, 1500
"""The first jobs find cold connections and interpreters that have not seen their paths yet."""
DRAIN_SECONDS = 120
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


class Way(NamedTuple):
    """Settings of the stack, headers and fields of what is submitted to it, and whether the servers speak TLS."""

    env: Mapping[str, str]
    headers: Mapping[str, str]
    fields: Mapping[str, Any]
    tls: bool = False


def measure(rounds: int) -> dict[str, Any]:
    """Each way in each round, on fresh servers; the figures are the medians."""
    title(f"Security controls: {JOBS} jobs each way, {rounds} rounds")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    wrong: list[str] = []
    for _ in range(rounds):
        for name in WAYS:
            run, amiss = _run(name)
            found[name].append(run)
            wrong += [f"{name}: {problem}" for problem in amiss]
    medians = {
        name: {part: round(statistics.median(run[part] for run in runs), 3) for part in runs[0]}
        for name, runs in found.items()
    }
    base = medians["none"]["stack"]
    percent = {name: round(100 * (parts["stack"] / base - 1), 1) for name, parts in medians.items()}
    table(
        ["CPU, ms a job", *COMPONENTS, "stack", "more"],
        [[name, *parts.values(), f"{percent[name]:+.1f} %"] for name, parts in medians.items()],
    )
    met = percent["all"] <= GOAL_PERCENT
    say(f"  all of them but encryption and TLS: {'within' if met else 'over'} the goal of {GOAL_PERCENT} %")
    return {"cpu_ms_per_job": medians, "runs": found, "percent_more": percent, "problems": wrong}


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


WAYS: Mapping[str, Callable[[Path], Way]] = {
    "none": _none,
    "all": _all,
    "all, encrypted": _encrypted,
    "all, TLS to the servers": _tls,
}


def _run(name: str) -> tuple[dict[str, float], list[str]]:
    """CPU-ms a job by component and in all, and what went wrong."""
    directory = Path(tempfile.mkdtemp(prefix="carom-bench-"))
    way = WAYS[name](directory)
    with Stand(directory, way.env, Authority(directory / "tls") if way.tls else None) as stand:
        warm = generate(stand, WARM_UP_JOBS, 60, headers=way.headers, fields=way.fields)
        before = drain(stand.receiver, 0, warm.accepted, 60).called_back
        used = cpu_seconds(stand.pids())
        submitted = generate(stand, JOBS, 120, headers=way.headers, fields=way.fields)
        drained = drain(stand.receiver, before, submitted.accepted, DRAIN_SECONDS)
        after = cpu_seconds(stand.pids())
        amiss = problems(leftovers(stand, submitted.accepted, drained))
    jobs = max(1, drained.called_back)
    cpu = {part: (after[part] - used[part]) * 1000 / jobs for part in COMPONENTS}
    return cpu | {"stack": sum(cpu.values())}, amiss
