"""What `helm test` runs: submits a job whose target and callback are this process, and waits until both were called.

Needs the standard library only. Ends with 0, or with 1 and one line that says what is missing.
"""
# ruff: noqa: S310, T201

import http.server
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any

PORT = 8080


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers 200 to everything, and keeps the body by path."""

    received: dict[str, bytes] = {}  # noqa: RUF012
    arrived = threading.Event()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.received[self.path] = body
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", "0")
        self.end_headers()
        say(f"{self.path} was called")
        if self.path == "/callback":
            self.arrived.set()

    def log_message(self, format: str, *args: object) -> None:
        pass


def say(text: str) -> None:
    print(text, flush=True)


def submit(api: str, host: str, key: str, own: str, deadline: float) -> dict[str, Any]:
    """The API's answer; asked again while it is not there yet or says 503."""
    job = {
        "targetUrl": f"{own}/target",
        "method": "POST",
        "payload": {"hello": "carom"},
        "callbackUrl": f"{own}/callback",
        "maxRetries": 10,
        "retryDelay": 1000,
        "retry": {"strategy": "fixed"},
    }
    headers = {"Content-Type": "application/json", **({"Host": host} if host else {})}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"{api.rstrip('/')}/api/jobs", json.dumps(job).encode(), headers)
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            problem = f"{error.code} {error.read().decode(errors='replace')}"
            final = error.code not in (404, 502, 503, 504)
            if error.code == HTTPStatus.UNAUTHORIZED:
                problem += (
                    "; the Secret of API keys has no admin-key" if not key else "; its admin-key is not in keys.json"
                )
        except OSError as error:
            problem, final = str(error), False
        if final or time.monotonic() > deadline:
            sys.exit(f"the API at {api} did not accept the job: {problem}")
        say(f"the API at {api} is not ready: {problem}")
        time.sleep(2)


def main() -> None:
    api, own = os.environ["CAROM_TEST_API"], os.environ["CAROM_TEST_SELF"]
    deadline = time.monotonic() + float(os.environ["CAROM_TEST_TIMEOUT"])
    server = http.server.ThreadingHTTPServer(("", int(os.environ.get("CAROM_TEST_PORT", PORT))), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    job_id = submit(api, os.environ.get("CAROM_TEST_HOST", ""), os.environ.get("CAROM_TEST_KEY", ""), own, deadline)[
        "jobId"
    ]
    say(f"job {job_id} was accepted")
    if not Receiver.arrived.wait(max(0.0, deadline - time.monotonic())):
        called = "was" if "/target" in Receiver.received else "was not"
        sys.exit(
            f"no callback of job {job_id} in time; its target {called} called: see the logs of executor and callback"
        )
    result = json.loads(Receiver.received["/callback"])
    if (result["jobId"], result["status"]) != (job_id, "completed"):
        sys.exit(f"the callback does not tell of job {job_id} as completed: {result}")
    say(f"job {job_id} was called back as completed")


if __name__ == "__main__":
    main()
