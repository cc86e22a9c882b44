"""A network in which every address is this machine, with a name server of its own: what a guard lets through arrives.

`Everywhere` starts this module in namespaces of its own (unshare: no rights are needed, but a kernel that lets users
have them). There the kernel takes any address for local, so a real listener stands behind each of them, and the C
library asks the name server below. Calls go through the egress as a service has it.
"""

import asyncio
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from tests.support.names import Names

ROOT = Path(__file__).parent.parent.parent
PORTS = (80, 8080, 22, 25, 6379)

# A global address besides, or glibc would not ask for AAAA records (RFC 3493, AI_ADDRCONFIG).
_SET_UP = """
ip link set lo up && ip route add local 0.0.0.0/0 dev lo && ip -6 route add local ::/0 dev lo &&
ip addr add 198.51.100.1/32 dev lo && ip addr add 2600::1/128 dev lo &&
mount --bind "$1" /etc/resolv.conf && exec "$2" -m tests.support.everywhere
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a call: a status, or a reason and its text; and the addresses that were connected to."""

    status: int | None
    reason: str | None
    text: str
    reached: list[str]


class CannotBeHad(Exception):
    """The machine gives no namespaces."""


class Everywhere:
    """The network, as a test uses it."""

    def __init__(self, directory: Path) -> None:
        if not all(map(shutil.which, ("unshare", "ip", "mount"))):
            raise CannotBeHad("needs unshare, ip and mount")
        resolv = directory / "resolv.conf"
        resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n")
        command = ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", _SET_UP, "sh"]
        paths = os.pathsep.join(path for path in (str(ROOT), *sys.path) if path)
        self._errors = directory / "errors"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [*command, str(resolv), sys.executable],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": paths},
            )
        if self._read() != "ready":
            self.close()
            raise CannotBeHad(f"no namespaces: {self._errors.read_text().strip()}")

    def call(self, *urls: str, **how: Any) -> list[Outcome]:
        """Get each of the URLs in turn through one egress.

        `allow`, `deny`: its policy. `zone`: what names resolve to. `redirect`: where `/go` on any address redirects to.
        `environment`: its variables. `forget`: the cache of names is emptied between the calls, as time does.
        `beside`: URLs that are called meanwhile, whatever becomes of them. `silent`: the end of names about which the
        name server does not say a word.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"urls": urls, **how}) + "\n")
        self._process.stdin.flush()
        return [Outcome(**outcome) for outcome in json.loads(self._read())]

    def one(self, url: str, **how: Any) -> Outcome:
        return self.call(url, **how)[0]

    def close(self) -> None:
        """Ends with its input."""
        with self._process:
            pass

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class _Listeners:
    """Listens on some ports of all addresses; knows to which of them a connection went."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.redirect = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = ipaddress.ip_address(writer.get_extra_info("sockname")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        self.reached.append(str(mapped or address))
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            go = head.startswith(b"GET /go ")
            location = f"Location: {self.redirect}\r\n" if go else ""
            line = "302 Found" if go else "200 OK"
            writer.write(
                f"HTTP/1.1 {line}\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n".encode("latin-1")
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _calls(asked: Mapping[str, Any], listeners: _Listeners, names: Names) -> list[dict[str, Any]]:
    # Not for those who only start us.
    from carom_common.adapters.egress import EgressClient, EgressError, GuardedTransport, OutboundRequest
    from carom_common.domain.address_policy import AddressPolicy

    transport = GuardedTransport(AddressPolicy.parse(asked.get("allow", ()), asked.get("deny", ())))
    client = EgressClient(transport, max_response_bytes=1024)
    os.environ.update(asked.get("environment", {}))
    names.begin(asked.get("zone", {}))
    names.slow_names = (asked["silent"],) if "silent" in asked else ()
    beside = [
        asyncio.ensure_future(client.send(OutboundRequest("GET", url, {}, None, 5))) for url in asked.get("beside", ())
    ]
    await asyncio.sleep(0.1 * bool(beside))
    listeners.redirect = asked.get("redirect", "")
    outcomes = []
    for url in asked["urls"]:
        listeners.reached = []
        try:
            response = await client.send(OutboundRequest("GET", url, {}, None, 5, follow_redirects=True))
            found: dict[str, Any] = {"status": response.status, "reason": None, "text": ""}
        except EgressError as error:
            found = {"status": None, "reason": error.reason, "text": str(error)}
        await asyncio.sleep(0.01)  # a connection that should not be would be seen
        outcomes.append({**found, "reached": listeners.reached})
        if asked.get("forget"):
            transport._connector.clear_dns_cache()
    for call in beside:
        call.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    await client.close()
    for name in asked.get("environment", {}):
        del os.environ[name]
    return outcomes


async def _main() -> None:
    loop = asyncio.get_running_loop()
    names, listeners = Names(), _Listeners()
    await loop.create_datagram_endpoint(lambda: names, local_addr=("127.0.0.1", 53))
    for port in PORTS:
        everywhere = socket.socket(socket.AF_INET6)
        everywhere.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        everywhere.bind(("::", port))
        await asyncio.start_server(listeners.serve, sock=everywhere)
    print("ready", flush=True)  # noqa: T201
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await _calls(json.loads(line), listeners, names)), flush=True)  # noqa: T201


if __name__ == "__main__":
    uvloop.run(_main())  # as the services do: the loop itself makes connections
