"""The two ends of a demo job: a target that fails at first, and a receiver of callbacks."""

import json
import queue
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Received:
    """One callback as it came in."""

    headers: dict[str, str]
    body: Any


class _Peer:
    """A small HTTP server on a free loopback port."""

    def __init__(self, path: str) -> None:
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = peer.answer({k.lower(): v for k, v in self.headers.items()}, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """The demo tells the story itself."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}{path}"

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Target(_Peer):
    """Answers 503 `failures` times, then 200."""

    def __init__(self, failures: int) -> None:
        super().__init__("/post")
        self._left = failures
        self._lock = Lock()

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        with self._lock:
            fails, self._left = self._left > 0, self._left - 1
        return (503, {"error": "not today"}) if fails else (200, {"ok": True, "received": json.loads(body or b"null")})


class Receiver(_Peer):
    """Keeps each callback in `received`."""

    def __init__(self) -> None:
        super().__init__("/callback")
        self.received: queue.SimpleQueue[Received] = queue.SimpleQueue()

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        self.received.put(Received(headers, json.loads(body)))
        return 200, {"ok": True}
