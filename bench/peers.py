"""The comparison with other job processors: ../shared/bench, which is no part of this project and may be absent."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.report import say
from bench.stand import OURS
from devstack.errors import DevstackError
from devstack.paths import ROOT
from devstack.ports import is_free, require_free
from devstack.process import clean_environment, wait_until

PEERS = ROOT.parent / "shared" / "bench"
INSTALLED = Path(os.environ.get("PEERS", "/var/cache/carom-bench"))
USUAL = ("seed-node", "ours", "bullmq")
OTHERS = ("celery", "taskiq", "temporal")
_CGROUPS = Path("/sys/fs/cgroup/cpuacct")
_PORTS = (3000, 3001, 3002, 3003, 9100, 9101, 9110, 9111, 9200, 9201)
AMQP, REDIS, EPMD = 5672, 6379, 4369
RUN_SECONDS, SETUP_SECONDS = 300, 1200


def present() -> bool:
    return (PEERS / "run.py").is_file()


def obstacle() -> str | None:
    """Why run.py cannot run here, in one line."""
    if not present():
        return "../shared/bench is not there"
    if os.geteuid() != 0:
        return "run.py reads cgroups and resets RabbitMQ, which needs root: sudo make bench"
    if not (_CGROUPS / "cpuacct.usage").exists():
        return "run.py counts CPU with the cgroup v1 controller cpuacct, which this machine does not have"
    return None


@contextlib.contextmanager
def servers() -> Iterator[None]:
    """The peers installed, RabbitMQ and Redis up where run.py expects them; stops afterwards what was started here."""
    had_amqp, had_redis, had_epmd = (not is_free(port) for port in (AMQP, REDIS, EPMD))
    try:
        if not _installed():
            say("  installing the peers (some minutes)")
            _call([str(PEERS / "setup")], SETUP_SECONDS)
        if is_free(AMQP):
            say("  starting RabbitMQ on port 5672")
            _call(["rabbitmq-server", "-detached"], 60)
            wait_until(lambda: not is_free(AMQP), 60, 0.5)
        if is_free(REDIS):
            say("  starting Redis on port 6379")
            _call(["redis-server", "--save", "", "--appendonly", "no", "--daemonize", "yes"], 30)
        _call(["rabbitmqctl", "await_startup"], 90)
        yield
    finally:
        if not had_amqp:
            _try(["rabbitmqctl", "-q", "stop"])
        if not had_redis:
            _try(["redis-cli", "shutdown", "nosave"])
        if not had_epmd:
            _try(["epmd", "-kill"])


def _installed() -> bool:
    paths = [INSTALLED / path for path in ("seed-node/node_modules", "bullmq/node_modules", "venv/bin/python")]
    return all(path.exists() for path in paths) and all(map(shutil.which, ("wrk", "nginx", "rabbitmqctl", "redis-cli")))


def strangers() -> str | None:
    """run.py counts the CPU of every RabbitMQ and Redis on the machine, whoever runs it."""
    count = {name: len(_pids(name)) for name in ("beam.smp", "redis-server")}
    if all(number == 1 for number in count.values()):
        return None
    return (
        f"{count['beam.smp']} RabbitMQ and {count['redis-server']} Redis servers run here: run.py counts the CPU of all"
    )


def run(peer: str, seconds: int, connections: int, rate: float) -> dict[str, Any]:
    """One run of run.py; its JSON line."""
    for port in _PORTS:
        require_free(port, "run.py needs it")
    command = [sys.executable, str(PEERS / "run.py"), peer]
    command += ["--seconds", str(seconds), "--connections", str(connections), "--rate", str(rate)]
    scratch = tempfile.TemporaryDirectory(prefix="carom-bench-", ignore_cleanup_errors=True)
    environment = clean_environment("CAROM_", "RABBITMQ_", "REDIS_", "PYTHONPATH")
    environment |= {"OURS": str(OURS), "TMPDIR": scratch.name}
    # A session of its own: Ctrl-C reaches only us, and we end it in its own way.
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired:
        raise DevstackError(f"run.py {peer} did not end within {RUN_SECONDS} s") from None
    finally:
        _end(process)
        scratch.cleanup()
    if process.returncode or not output.strip():
        raise DevstackError(f"run.py {peer} failed: {' '.join((errors or output).split())[-300:]}")
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def _end(process: "subprocess.Popen[str]") -> None:
    """SIGINT lets run.py stop what it started; what is left in its groups is killed (not the servers')."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()
        process.wait()
    for group in ("app", "target", "load"):
        with contextlib.suppress(OSError):
            for pid in (_CGROUPS / "bench" / group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def _pids(name: str) -> list[str]:
    return subprocess.run(["pgrep", "-x", name], capture_output=True, text=True, check=False).stdout.split()


def _call(command: list[str], seconds: float) -> None:
    # Output goes to a file: a daemon would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        except OSError as error:
            raise DevstackError(f"{command[0]}: {error}") from error
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise DevstackError(f"{' '.join(command)} did not end within {seconds:.0f} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        if code:
            raise DevstackError(f"{' '.join(command)} failed: {' '.join(output.read().split())[-300:]}")


def _try(command: list[str]) -> None:
    with contextlib.suppress(DevstackError):
        _call(command, 60)
