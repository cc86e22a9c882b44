"""Ports: the fixed ones of `make run`, and free ones for everything else."""

import random
import socket

from devstack.errors import DevstackError

API = 3000
ADMIN = {"intake": 3001, "executor": 3002, "callback": 3003}
# Far from the ports of a system installation (5672, 25672, 4369, 15672, 6379, 26379).
RABBITMQ = 27672
REDIS = 27379

# Below the kernel's ephemeral range: a server that is killed and started again must find its port still free.
_FIRST, _LAST = 10_500, 31_500
_given: set[int] = set()


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody listens on, never the same twice in one process."""
    for _ in range(200):
        port = random.randint(_FIRST, _LAST)
        if port not in _given and is_free(port, "0.0.0.0"):
            _given.add(port)
            return port
    raise DevstackError(f"no free port between {_FIRST} and {_LAST}")


def require_free(port: int, user: str, hint: str = "") -> None:
    if not is_free(port, "0.0.0.0"):
        raise DevstackError(f"port {port} ({user}) is taken{': ' + hint if hint else ''}")
