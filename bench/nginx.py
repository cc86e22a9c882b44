"""nginx as target and receiver at full speed: it answers everything with 200 and counts."""

import re
import shutil
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.errors import DevstackError
from devstack.ports import free_port, is_free
from devstack.process import Process, clean_environment, wait_until

_CONF = """daemon off; worker_processes 1; pid {d}/pid; error_log {d}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; default_type application/json;
  client_body_temp_path {d}/body; proxy_temp_path {d}/proxy; fastcgi_temp_path {d}/fastcgi;
  uwsgi_temp_path {d}/uwsgi; scgi_temp_path {d}/scgi;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 '{{"ok":true}}'; }} }}
  server {{ listen 127.0.0.1:{status}; location / {{ stub_status; }} }}
}}
"""
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Nginx:
    """One nginx that answers on one port. `count` is how many requests it has answered, our own questions left out."""

    def __init__(self, directory: Path) -> None:
        binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if binary is None:
            raise DevstackError("nginx is missing: run scripts/install-servers --tests")
        directory.mkdir(parents=True)
        self._port, self._status = free_port(), free_port()
        conf = directory / "nginx.conf"
        conf.write_text(_CONF.format(d=directory, port=self._port, status=self._status))
        command = [binary, "-e", str(directory / "error.log"), "-c", str(conf)]
        self._process = Process("nginx", command, clean_environment(), directory / "output.log")
        self._asked = 0
        self.url = f"http://127.0.0.1:{self._port}"

    def count(self) -> int:
        with _opener.open(f"http://127.0.0.1:{self._status}/", timeout=5) as response:
            found = re.search(r"\n\s*\d+\s+\d+\s+(\d+)", response.read().decode())
        if found is None:
            raise DevstackError("nginx does not tell its count")
        self._asked += 1
        return int(found[1]) - self._asked

    def __enter__(self) -> Self:
        self._process.spawn()
        if not wait_until(lambda: not (is_free(self._port) or is_free(self._status)), 10) or not self._process.alive:
            self._process.kill()
            raise DevstackError(f"nginx did not start; see {self._process.log}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.kill()
