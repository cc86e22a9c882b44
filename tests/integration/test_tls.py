"""TLS to RabbitMQ and Redis, which take nothing else here, and no client without a certificate of their CA."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from tests.integration.conftest import ENV
from tests.support.client import Api
from tests.support.logs import Logs
from tests.support.target import Target, respond
from tests.support.waiting import eventually

from carom_common.adapters.amqp.connection import connect
from carom_common.adapters.amqp.errors import BrokerUnavailable
from carom_common.adapters.store.batch import Batcher, StoreUnavailable
from carom_common.tls import TlsFiles
from devstack.certificates import Authority, Pem
from devstack.paths import service_command
from devstack.process import clean_environment
from devstack.servers import RabbitMQ, Redis
from devstack.services import Service, Stack

pytestmark = pytest.mark.stack

FAST = {"retryDelay": 100, "retry": {"strategy": "fixed"}}


class Secured(NamedTuple):
    """Servers whose certificate is for 127.0.0.1 alone, their CA, and a client's certificate."""

    rabbitmq: RabbitMQ
    redis: Redis
    ca: Path
    client: Pem
    stranger: Authority

    def env(self, **instead: str) -> dict[str, str]:
        files = {"CA": str(self.ca), "CERT": str(self.client.certificate), "KEY": str(self.client.key)} | instead
        return {
            f"CAROM_{part}_{kind}_FILE": path for part in ("BROKER", "STORE") for kind, path in files.items() if path
        }


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority(directory / "ca"), Authority(directory / "stranger")
    tls = authority.server("127.0.0.1")
    with RabbitMQ(directory / "rabbitmq", tls=tls) as rabbitmq, Redis(directory / "redis", tls=tls) as redis:
        yield Secured(rabbitmq, redis, authority.file, authority.pem("client", "carom"), stranger)


@pytest.fixture(scope="module")
def own_stack(secured: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    log = tmp_path_factory.mktemp("tls-services")
    with Stack(secured.rabbitmq.url, secured.redis.url, log=log, env=ENV | secured.env()) as stack:
        yield stack


async def test_a_job_goes_through_with_retries_and_its_events(own_api: Api, target: Target) -> None:
    """Declaring, publishing, consuming, recording and the event streams' own connections: all over TLS."""
    endpoint = target.endpoint(respond(503), respond(200))
    receiver = target.endpoint(respond(500), respond(200))
    body = {"targetUrl": endpoint.url, "callbackUrl": receiver.url, **FAST}
    waited = await own_api.post(body, {"Prefer": "wait=20"})
    assert (waited.status_code, waited.json()["status"]) == (200, "completed")
    job_id = waited.json()["jobId"]
    document = await own_api.wait_for_callback(job_id)
    assert (document["status"], document["callback"]["status"]) == ("completed", "delivered")
    assert len(endpoint.requests) == len(receiver.requests) == 2


@pytest.mark.parametrize("part", ["rabbitmq", "redis"])
def test_the_servers_take_nothing_in_clear(secured: Secured, part: str) -> None:
    """So what the tests here do was done over TLS."""
    port = {"rabbitmq": secured.rabbitmq.port, "redis": secured.redis.port}[part]
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01" if part == "rabbitmq" else b"PING\r\n")
        try:
            assert b"PONG" not in (answer := connection.recv(64))
            assert answer[7:11] != b"\x00\x0a\x00\x0a"
        except ConnectionResetError:
            pass


WRONG: dict[str, tuple[Callable[[Secured], dict[str, str]], str, str]] = {
    "wrong CA": (
        lambda s: s.env(CA=str(s.stranger.file)),
        "127.0.0.1",
        "the certificate that it shows is refused: self-signed certificate in certificate chain (CAROM_{}_CA_FILE",
    ),
    "the system's CAs": (lambda s: s.env(CA=""), "127.0.0.1", "the certificate that it shows is refused: "),
    "wrong host name": (lambda s: s.env(), "localhost", "certificate is not valid for 'localhost'"),
    "no client certificate": (
        lambda s: s.env(CERT="", KEY=""),
        "127.0.0.1",
        "it asks for a client certificate, see CAROM_{}_CERT_FILE",
    ),
    "client certificate of another CA": (
        lambda s: s.env(**dict(zip(("CERT", "KEY"), map(str, s.stranger.pem("client", "carom")), strict=True))),
        "127.0.0.1",
        "it refuses us, see CAROM_{}_CERT_FILE",
    ),
}


REFUSED = [WRONG[name][0] for name in ("no client certificate", "client certificate of another CA")]


@pytest.mark.parametrize(("given", "host", "words"), WRONG.values(), ids=WRONG)
async def test_a_failed_handshake_is_told_and_nothing_hangs(
    given: Callable[[Secured], dict[str, str]], host: str, words: str, secured: Secured, tmp_path: Path
) -> None:
    """A service that starts anyway, since the servers' side may be mended: it says why, and refuses work at once."""
    urls = {
        name: server.url.replace("127.0.0.1", host)
        for name, server in (("RABBITMQ_URL", secured.rabbitmq), ("REDIS_URL", secured.redis))
    }
    # What declares has one line, too: it comes first, so the service's own connections are looked at without it.
    env = ENV | given(secured) | urls | {"CAROM_DECLARE_TOPOLOGY": "false"}
    service, logs = Service("intake", env, log=tmp_path / "intake.log"), Logs(tmp_path)
    service.start()
    try:
        broker = (await logs.wait_for(event="publisher_disconnected"))[0]["reason"]
        store = (await logs.wait_for(event="store_away"))[0]["reason"]
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            verbose = (await client.get(f"{service.admin}/readyz?verbose")).json()
            job = {"targetUrl": "http://192.0.2.1/", "callbackUrl": None}
            answer = await client.post(f"{service.url}/api/jobs", json=job)
    finally:
        assert service.terminate(15) == 0
    assert words.format("BROKER") in broker
    # TLS 1.3: a client is refused after its handshake, and the reset of its connection may overtake the alert.
    assert words.format("STORE") in store or (given in REFUSED and "reset by peer" in store)
    assert "\n" not in broker + store
    assert (verbose["broker"], verbose["store"], answer.status_code) == ("not connected", "not available", 503)
    # Told once, not with each look; the broker's is told with each try, as every loss of it is.
    assert len(logs.events(event="store_away")) == 1


@pytest.mark.parametrize(("given", "host", "words"), WRONG.values(), ids=WRONG)
def test_what_declares_tells_it_too(
    given: Callable[[Secured], dict[str, str]], host: str, words: str, secured: Secured
) -> None:
    broker_only = {name: path for name, path in given(secured).items() if "_BROKER_" in name}
    environment = clean_environment("CAROM_", "RABBITMQ_", "REDIS_") | broker_only
    environment |= {"RABBITMQ_URL": secured.rabbitmq.url.replace("127.0.0.1", host), "PYTHONUNBUFFERED": "1"}
    started = time.monotonic()
    with subprocess.Popen(
        [str(service_command("intake")), "declare-topology"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    assert "waiting_for_broker" in line
    assert words.format("BROKER") in line
    assert time.monotonic() - started < 20


async def test_no_parameter_of_a_url_turns_the_checks_off(secured: Secured) -> None:
    strange = TlsFiles(str(secured.stranger.file), *map(str, secured.client))
    with pytest.raises(BrokerUnavailable, match="refused: self-signed"):
        await connect(secured.rabbitmq.url + "?no_verify_ssl=1&verify=verify_none", "test", strange)
    batcher = Batcher(secured.redis.url + "?ssl_cert_reqs=none&ssl_check_hostname=false", strange)
    with pytest.raises(StoreUnavailable, match="refused: self-signed"):
        await batcher.run("PING")
    await batcher.close()


async def test_a_renewed_certificate_counts_from_the_next_connect(secured: Secured, tmp_path: Path) -> None:
    """Files are read anew: a mounted Secret changes under a running process."""
    files = TlsFiles(str(secured.ca), str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))

    def mount(pem: Pem) -> None:
        for source, place in zip(pem, files[1:], strict=True):
            shutil.copy(source, f"{place}.new")
            Path(f"{place}.new").replace(place)

    batcher = Batcher(secured.redis.url, files)

    async def reconnected() -> object:
        await batcher.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
        return await batcher.run("PING")

    mount(secured.client)
    assert await batcher.run("PING") == b"PONG"
    await (await connect(secured.rabbitmq.url, "test", files)).close()

    mount(secured.stranger.pem("renewed", "carom"))
    with pytest.raises(StoreUnavailable, match="it refuses us"):
        await reconnected()
    with pytest.raises(BrokerUnavailable, match="it refuses us"):
        await connect(secured.rabbitmq.url, "test", files)

    mount(secured.client)

    async def pong() -> bool:
        try:
            return bool(await batcher.run("PING") == b"PONG")
        except StoreUnavailable:
            return False

    await eventually(pong, "the store is back with the good certificate")
    await (await connect(secured.rabbitmq.url, "test", files)).close()
    await batcher.close()
