"""A certificate of our own, and requests that go through only where it is served."""

import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Any

from tests.e2e.kube import run


def make_certificate(directory: Path, host: str) -> tuple[Path, Path]:
    """Self-signed for one host: certificate and key."""
    certificate, key = directory / "tls.crt", directory / "tls.key"
    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "1")
    names = ("-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}")
    run("openssl", *made, *names, "-out", str(certificate), "-keyout", str(key))
    return certificate, key


def post(address: str, host: str, trusted: Path, path: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
    """Status and document. Raises ssl.SSLError where any other certificate is served than `trusted`."""
    context = ssl.create_default_context(cafile=str(trusted))
    with (
        socket.create_connection((address, 443), 15) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        connection = http.client.HTTPConnection(host)
        connection.sock = secured
        sent = {**headers, "Content-Type": "application/json", "Host": host}
        connection.request("POST", path, json.dumps(body), sent)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        return answer.status, json.loads(text) if text.startswith("{") else text
