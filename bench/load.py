"""Load at full speed: wrk where it is installed, else our generator."""

import json
import re
import shutil
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from bench.client import NO_HEADERS
from bench.job import API_PATH, job
from bench.stand import Stand
from devstack.errors import DevstackError
from devstack.process import wait_until

_LUA = """wrk.method = 'POST'
wrk.headers['content-type'] = 'application/json'
wrk.body = [==[%s]==]
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() ok = 0 bad = 0 end
function response(status) if status == 202 then ok = ok + 1 else bad = bad + 1 end end
function done(summary, latency)
  local good, other = 0, 0
  for _, thread in ipairs(threads) do good = good + thread:get('ok') other = other + thread:get('bad') end
  print('OK ' .. good .. ' BAD ' .. other .. ' P99 ' .. latency:percentile(99) / 1000)
end
"""


class Submitted(NamedTuple):
    accepted: int
    rejected: int
    seconds: float
    p99_ms: float | None
    by: str


def submit_for(stand: Stand, seconds: int, connections: int) -> Submitted:
    """As many jobs as go in within `seconds`."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return generate(stand, 10**9, seconds, connections)
    script = stand.directory / "post.lua"
    script.write_text(_LUA % json.dumps(job(stand.target.url, stand.receiver.url)))
    url = stand.stack.api + API_PATH
    _run(stand, "wrk", [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url], seconds + 30)
    found = re.search(r"OK (\d+) BAD (\d+) P99 ([\d.]+)", stand.output("wrk"))
    if found is None:
        raise DevstackError(f"wrk did not report: {stand.output('wrk')[-300:]}")
    return Submitted(int(found[1]), int(found[2]), seconds, float(found[3]), "wrk")


def generate(
    stand: Stand,
    count: int,
    seconds: float,
    connections: int = 64,
    *,
    headers: Mapping[str, str] = NO_HEADERS,
    fields: Mapping[str, Any] = NO_HEADERS,
) -> Submitted:
    """Exactly `count` jobs, or fewer when `seconds` are over; `fields` are put into the job, `headers` sent with it."""
    arguments: dict[str, Any] = {
        "base": stand.stack.api,
        "job": job(stand.target.url, stand.receiver.url, **fields),
        "headers": dict(headers),
        "connections": connections,
        "count": count,
        "seconds": seconds,
    }
    command = [sys.executable, "-m", "bench.generator", json.dumps(arguments)]
    _run(stand, "generator", command, seconds + 60)
    return Submitted(**json.loads(stand.output("generator").splitlines()[-1]), by="generator")


def _run(stand: Stand, name: str, command: list[str], seconds: float) -> None:
    process = stand.helper(name, command)
    ended = wait_until(lambda: not process.alive, seconds, 0.02)
    code = process.kill()
    if not ended or code:
        raise DevstackError(f"{name} {'failed' if ended else 'did not end'}: {stand.output(name)[-300:]}")
