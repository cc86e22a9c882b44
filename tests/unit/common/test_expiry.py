"""When mounted certificates and API keys expire."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from carom_common.expiry import certificate_files, soonest
from carom_executor.settings import ExecutorSettings
from carom_intake.domain.keys import Keys, new_key

NOW = datetime.now(UTC).replace(microsecond=0)


def pem(days: float) -> bytes:
    """A certificate that ends in so many days."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "c")])
    end = NOW + timedelta(days=days)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(end - timedelta(days=900)).not_valid_after(end)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def days(seconds: float) -> float:
    return (seconds - NOW.timestamp()) / 86_400


def test_the_first_that_expires_counts_but_for_what_was_replaced(tmp_path: Path) -> None:
    chain, bundle, spent = tmp_path / "chain", tmp_path / "bundle", tmp_path / "spent"
    chain.write_bytes(pem(30) + pem(20))
    bundle.write_bytes(pem(-5) + pem(40))
    spent.write_bytes(pem(-5) + pem(-2))
    assert days(soonest([str(chain)])) == 20
    assert days(soonest([str(bundle)])) == 40
    assert days(soonest([str(bundle), "", str(chain)])) == 20
    assert days(soonest([str(chain), str(spent)])) == -2
    assert soonest([]) == soonest([""]) == math.inf
    chain.write_bytes(b"half a certif")
    assert soonest([str(chain), str(tmp_path / "gone")]) == math.inf


def test_the_files_of_every_use_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes(pem(10))
    monkeypatch.setenv("RABBITMQ_URL", "amqps://broker")
    monkeypatch.setenv("CAROM_BROKER_CA_FILE", str(ca))
    monkeypatch.setenv("CAROM_EGRESS_TLS", f'{{"api.example": {{"ca": "{ca}"}}}}')
    files = certificate_files(ExecutorSettings())
    assert files == {
        "broker-ca": [str(ca)],
        "broker-client": [""],
        "store-ca": [""],
        "store-client": [""],
        "egress": [str(ca)],
    }


def test_the_next_key_to_expire_is_one_that_is_still_good() -> None:
    ends = (None, NOW - timedelta(days=1), NOW + timedelta(days=9), NOW + timedelta(days=3))
    keys = [new_key(f"k{number}", "default", [], expires_at=end).key for number, end in enumerate(ends)]
    assert days(Keys(keys).next_expiry(NOW)) == 3
    assert Keys(keys[:2]).next_expiry(NOW) == math.inf
