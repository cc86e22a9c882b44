"""Certificates of a CA of our own, as files: for servers that speak TLS alone, and for their clients."""

import ssl
from pathlib import Path
from typing import NamedTuple

import trustme

from devstack.servers import ServerTls


class Pem(NamedTuple):
    certificate: Path
    key: Path


class Authority:
    """One CA and what it signs, below `directory`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._ca = trustme.CA()
        self.file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def pem(self, name: str, *identities: str) -> Pem:
        """A certificate for host names or addresses, with its key in a file of its own."""
        issued = self._ca.issue_cert(*identities)
        pem = Pem(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        pem.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(pem.key))
        return pem

    def server(self, *identities: str) -> ServerTls:
        """For a server that is reached as these; its probe does not look at the name."""
        pem, own = self.pem("server-" + identities[0], *identities), self.pem("probe", "probe")
        probe = ssl.create_default_context(cafile=str(self.file))
        probe.check_hostname = False
        probe.load_cert_chain(own.certificate, own.key)
        return ServerTls(self.file, pem.certificate, pem.key, probe)

    def client_env(self) -> dict[str, str]:
        """The settings of a service that shows a certificate of its own to both servers."""
        pem = self.pem("client", "carom")
        files = {"CA": self.file, "CERT": pem.certificate, "KEY": pem.key}
        return {f"CAROM_{part}_{kind}_FILE": str(path) for part in ("BROKER", "STORE") for kind, path in files.items()}
