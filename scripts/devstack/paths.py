"""Where things are: the repository, the data of `make run`, the binaries."""

import shutil
import sys
from pathlib import Path

from devstack.errors import DevstackError

ROOT = Path(__file__).resolve().parents[2]
RUN_DIR = ROOT / ".run"
_INSTALL = "run scripts/install-servers"


def service_command(service: str) -> Path:
    """The console script of a service, in the environment this Python runs in."""
    command = Path(sys.prefix) / "bin" / f"carom-{service}"
    if not command.exists():
        raise DevstackError(f"carom-{service} is not installed: run make .venv")
    return command


def rabbitmq_binary(name: str) -> str:
    """Debian's wrappers in PATH insist on the system user, so the real scripts come first."""
    return _binary(name, "/usr/lib/rabbitmq/bin")


def redis_binary(name: str) -> str:
    return _binary(name, "/usr/bin")


def epmd_binary() -> str:
    return _binary("epmd", "/usr/bin")


def prometheus_binary(name: str) -> str:
    """Of Prometheus, promtool and exporters."""
    return _binary(name, "/usr/bin")


def _binary(name: str, folder: str) -> str:
    preferred = Path(folder) / name
    found = str(preferred) if preferred.exists() else shutil.which(name)
    if found is None:
        raise DevstackError(f"{name} is missing: {_INSTALL}")
    return found
