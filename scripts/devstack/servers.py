"""Private RabbitMQ and Redis servers on the loopback interface; no system instance is touched."""

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from devstack.errors import DevstackError
from devstack.paths import epmd_binary, rabbitmq_binary, redis_binary
from devstack.ports import free_port
from devstack.process import Process, clean_environment, wait_until
from devstack.server import HERE, Place, Server

__all__ = ["RabbitMQ", "Redis", "ServerTls"]

# A delayed message that falls due while the broker starts, before its bindings are back, is tried again after this
# time; the default of three minutes would keep a retry waiting for as long.
_ADVANCED = "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 10000}]}].\n"
USUAL_TICK_MS = 5000


class ServerTls(NamedTuple):
    """TLS alone, and only for clients with a certificate of the same CA. `probe` asks whether the server is up."""

    ca: Path
    certificate: Path
    key: Path
    probe: ssl.SSLContext


class RabbitMQ(Server):
    """One RabbitMQ node with an epmd and plugins of its own. `settings` are lines of rabbitmq.conf.

    With `epmd_port`, the same in a whole cluster, it is named after its address, and others can find it there.
    `kernel` has parameters of Erlang's kernel by name; `hosts` the addresses to listen on, if they are several.
    Quorum queues say how long they are only once in `tick_ms`, for which whoever waits for them to be empty waits.
    """

    label = "RabbitMQ"

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        management: bool = False,
        metrics: bool = False,
        settings: Mapping[str, str | int] | None = None,
        tls: ServerTls | None = None,
        place: Place = HERE,
        epmd_port: int | None = None,
        kernel: Mapping[str, str | int] | None = None,
        hosts: Sequence[str] = (),
        tick_ms: int = 1000,
    ) -> None:
        super().__init__(directory, port, place)
        self.tls = tls
        self._tick_ms = tick_ms
        # The name is part of the data's path: it must not depend on the port. A private epmd keeps nodes apart.
        self.node = f"carom@{place.host}" if epmd_port else "carom@localhost"
        self.management_port = free_port() if management else None
        self.metrics_port = free_port() if metrics else None
        self.settings = dict(settings or {})
        self._kernel = dict(kernel or {})
        self._hosts = hosts
        self._long_names = epmd_port is not None
        self._epmd_port = epmd_port or free_port()
        self._dist_port = free_port()
        self._epmd: Process | None = None

    @property
    def url(self) -> str:
        return f"amqp{'s' if self.tls else ''}://guest:guest@{self.place.host}:{self.port}/"

    def ctl(self, *arguments: str, timeout: float = 60) -> str:
        """`rabbitmqctl` against this node; gives what it printed."""
        if not self.alive:
            raise DevstackError("RabbitMQ does not run: rabbitmqctl has nobody to talk to")
        names = ["--longnames"] if self._long_names else []
        result = subprocess.run(
            [*self.place.within, rabbitmq_binary("rabbitmqctl"), *names, "--node", self.node, *arguments],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if result.returncode:
            detail = " ".join((result.stderr or result.stdout).split())
            raise DevstackError(f"rabbitmqctl {' '.join(arguments)} failed: {detail[:500]}")
        return result.stdout

    def stop(self) -> None:
        super().stop()
        self._stop_epmd()

    def kill(self) -> None:
        super().kill()
        self._stop_epmd()

    def _prepare(self) -> Process:
        server = rabbitmq_binary("rabbitmq-server")
        environment = self._environment()
        self._write_configuration()
        # Not left to the Erlang VM, which would start a daemon that outlives everything.
        self._epmd = Process(
            "epmd",
            [*self.place.within, epmd_binary(), "-address", self.place.host, "-port", str(self._epmd_port)],
            environment,
            self.directory / "epmd.log",
        )
        self._epmd.spawn()
        if not wait_until(lambda: _listens(self.place.host, self._epmd_port), 10):
            raise DevstackError(f"RabbitMQ: epmd did not start; see {self._epmd.log}")
        return Process("rabbitmq", [*self.place.within, server], environment, self.log)

    def _is_ready(self) -> bool:
        """A protocol header is answered with Connection.Start (class 10, method 10)."""
        with contextlib.suppress(OSError), _connected(self.place.host, self.port, self.tls) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(11)[7:11] == b"\x00\x0a\x00\x0a"
        return False

    def _stop_epmd(self) -> None:
        if self._epmd:
            self._epmd.kill()
            self._epmd = None

    def _environment(self) -> dict[str, str]:
        d = self.directory
        # inet_dist_use_interface: nodes listen on every interface otherwise.
        host = self.place.host
        parameters = {"inet_dist_use_interface": "{" + host.replace(".", ",") + "}"} | self._kernel
        elsewhere = self.tls or self._hosts
        kernel = " ".join(["-start_epmd false", *(f"-kernel {name} {value}" for name, value in parameters.items())])
        return clean_environment("RABBITMQ_", "ERL_", "NOTIFY_SOCKET") | {
            "HOME": str(d),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": host,
            # Makes the script exec the VM instead of waiting for it: its process is our child, and SIGKILL hits it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": self.node,
            **({"RABBITMQ_USE_LONGNAME": "true"} if self._long_names else {}),
            **({} if elsewhere else {"RABBITMQ_NODE_IP_ADDRESS": host, "RABBITMQ_NODE_PORT": str(self.port)}),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(d / "data"),
            "RABBITMQ_LOG_BASE": str(d / "log"),
            "RABBITMQ_SCHEMA_DIR": str(d / "schema"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(d / "generated"),
            "RABBITMQ_PID_FILE": str(d / "rabbitmq.pid"),
            "RABBITMQ_CONF_ENV_FILE": str(d / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(d / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(d / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(d / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(d / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{kernel} -rabbit quorum_tick_interval {self._tick_ms}",
            "RABBITMQ_CTL_ERL_ARGS": kernel,
        }

    def _write_configuration(self) -> None:
        d = self.directory
        for folder in ("data", "log", "schema", "generated", "conf.d"):
            (d / folder).mkdir(exist_ok=True)
        settings: dict[str, str | int] = {
            **{f"listeners.tcp.{n}": f"{host}:{self.port}" for n, host in enumerate(self._hosts or [self.place.host])},
            "disk_free_limit.absolute": "50MB",
            "raft.wal_max_size_bytes": 64 * 1024 * 1024,
            "log.file": "false",
            "log.console": "true",
            "log.console.level": "info",
        }
        if self.tls:
            del settings["listeners.tcp.0"]
            settings |= {
                "listeners.tcp": "none",
                "listeners.ssl.default": f"{self.place.host}:{self.port}",
                "ssl_options.cacertfile": str(self.tls.ca),
                "ssl_options.certfile": str(self.tls.certificate),
                "ssl_options.keyfile": str(self.tls.key),
                "ssl_options.verify": "verify_peer",
                "ssl_options.fail_if_no_peer_cert": "true",
            }
        if self.management_port:
            settings |= {"management.tcp.ip": "127.0.0.1", "management.tcp.port": self.management_port}
        if self.metrics_port:
            settings |= {"prometheus.tcp.ip": "127.0.0.1", "prometheus.tcp.port": self.metrics_port}
        lines = [f"{name} = {value}\n" for name, value in (settings | self.settings).items()]
        (d / "rabbitmq.conf").write_text("".join(lines))
        (d / "rabbitmq-env.conf").write_text("")
        (d / "advanced.config").write_text(_ADVANCED)
        ports = {"rabbitmq_management": self.management_port, "rabbitmq_prometheus": self.metrics_port}
        plugins = ",".join(plugin for plugin, port in ports.items() if port)
        (d / "enabled_plugins").write_text(f"[{plugins}].\n")


class Redis(Server):
    """One Redis server with an append-only file. `settings` are directives of redis.conf."""

    label = "Redis"

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        tls: ServerTls | None = None,
        place: Place = HERE,
    ) -> None:
        super().__init__(directory, port, place)
        self.settings = dict(settings or {})
        self.tls = tls

    @property
    def url(self) -> str:
        return f"redis{'s' if self.tls else ''}://{self.place.host}:{self.port}/0"

    def _prepare(self) -> Process:
        settings = {
            "port": str(self.port),
            "bind": self.place.host,
            "dir": str(self.directory),
            "save": "",
            "appendonly": "yes",
            "daemonize": "no",
        }
        if self.tls:
            settings |= {
                "port": "0",
                "tls-port": str(self.port),
                "tls-ca-cert-file": str(self.tls.ca),
                "tls-cert-file": str(self.tls.certificate),
                "tls-key-file": str(self.tls.key),
            }
        command = [*self.place.within, redis_binary("redis-server")]
        for name, value in (settings | self.settings).items():
            command += [f"--{name}", value]
        return Process("redis", command, clean_environment(), self.log)

    def _is_ready(self) -> bool:
        """PONG, not -LOADING."""
        with contextlib.suppress(OSError), _connected(self.place.host, self.port, self.tls) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 2):
        return True
    return False


def _connected(host: str, port: int, tls: ServerTls | None) -> socket.socket:
    connection = socket.create_connection((host, port), 2)
    if tls is None:
        return connection
    try:
        return tls.probe.wrap_socket(connection, server_hostname=host)
    except OSError:
        connection.close()
        raise
