"""Bad configuration: one line that names the variable."""

import contextlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from carom_callback.settings import CallbackSettings
from carom_common.settings import Settings, load_settings
from carom_executor.settings import ExecutorSettings
from carom_intake.settings import IntakeSettings
from devstack.certificates import Authority


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (IntakeSettings, "RABBITMQ_URL", "http://x"),
        (IntakeSettings, "RABBITMQ_URL", "nonsense"),
        (IntakeSettings, "REDIS_URL", "amqp://x"),
        (IntakeSettings, "CAROM_PORT", "http"),
        (IntakeSettings, "CAROM_PORT", "70000"),
        (IntakeSettings, "CAROM_MAX_BODY", "-1"),
        (IntakeSettings, "CAROM_LOG_LEVEL", "loud"),
        (IntakeSettings, "CAROM_AUTH", "none"),
        (IntakeSettings, "CAROM_KEYS_FILE", ""),
        (IntakeSettings, "CAROM_KEYS_FILE", "/nowhere/keys.json"),
        (IntakeSettings, "CAROM_OPERATOR_TENANT", "A"),
        (IntakeSettings, "CAROM_TRUSTED_PROXIES", "10.0.0.0/8,10.0.0.1/8"),
        (IntakeSettings, "CAROM_OIDC_AUDIENCE", "carom"),
        (IntakeSettings, "CAROM_OIDC_JWKS_URL", "https://id.example/keys"),
        (IntakeSettings, "CAROM_OIDC_CA_FILE", "/nowhere/ca.pem"),
        (IntakeSettings, "CAROM_OIDC_TENANT_CLAIM", ""),
        (IntakeSettings, "CAROM_OIDC_SCOPE_CLAIM", ""),
        (IntakeSettings, "CAROM_OIDC_LEEWAY", "301"),
        (IntakeSettings, "CAROM_KEY_RATE", "-1"),
        (IntakeSettings, "CAROM_KEY_BURST", "0.5"),
        (IntakeSettings, "CAROM_TENANT_JOBS", "-1"),
        (IntakeSettings, "CAROM_TENANT_BYTES", "1GB"),
        (IntakeSettings, "CAROM_HEAD_TIMEOUT", "0"),
        (IntakeSettings, "CAROM_BODY_TIMEOUT", "x"),
        (ExecutorSettings, "CAROM_EXECUTOR_CONCURRENCY", "0"),
        (ExecutorSettings, "CAROM_EGRESS_ALLOW", "10.0.0.0/99"),
        (ExecutorSettings, "CAROM_EGRESS_DENY", "not a name!"),
        (ExecutorSettings, "CAROM_EGRESS_SCHEMES", "http,ftp"),
        (IntakeSettings, "CAROM_EGRESS_SCHEMES", ""),
        (ExecutorSettings, "CAROM_EGRESS_PORTS", "443,http"),
        (IntakeSettings, "CAROM_EGRESS_PORTS", "9000-8000"),
        (CallbackSettings, "CAROM_EGRESS_BLOCKED_PORTS", "default,70000"),
        (IntakeSettings, "CAROM_EGRESS_RULES", '{"a": {"targets": ["x y"]}}'),
        (ExecutorSettings, "CAROM_EGRESS_RULES", "{"),
        (ExecutorSettings, "CAROM_EGRESS_PROXY", "https://hunter2:hunter2@proxy:3128"),
        (CallbackSettings, "CAROM_EGRESS_TLS", '{"a.test": {"ca": "/nowhere/ca.pem"}}'),
        (ExecutorSettings, "CAROM_CONSUMER_TIMEOUT", "300"),
        (ExecutorSettings, "OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        (IntakeSettings, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:http"),
        (IntakeSettings, "OTEL_TRACES_SAMPLER", "always_on"),
        (IntakeSettings, "OTEL_TRACES_SAMPLER_ARG", "1.1"),
        (CallbackSettings, "OTEL_BSP_MAX_QUEUE_SIZE", "10"),
        (CallbackSettings, "CAROM_TRACE_ERRORS", "perhaps"),
        (CallbackSettings, "CAROM_CALLBACK_SECRET", "hunter2"),
        (CallbackSettings, "CAROM_CALLBACK_DELAYS", "5,x"),
        (CallbackSettings, "CAROM_CALLBACK_DELAYS", "0"),
    ],
)
def test_a_bad_value_is_one_line_with_its_variable(
    kind: type[Settings], name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exited:
        load_settings(kind)
    assert exited.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert name in said
    assert "hunter2" not in said


OIDC = {
    "CAROM_OIDC_ISSUER": "https://id.example",
    "CAROM_OIDC_AUDIENCE": "carom",
    "CAROM_OIDC_JWKS_URL": "https://id.example/keys",
}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"CAROM_OIDC_AUDIENCE": ""}, "CAROM_OIDC_AUDIENCE"),
        ({"CAROM_OIDC_JWKS_URL": ""}, "CAROM_OIDC_JWKS_URL"),
        ({"CAROM_OIDC_JWKS_URL": "http://id.example/keys"}, "CAROM_OIDC_JWKS_URL"),
        ({"CAROM_OIDC_JWKS_URL": "http://127.0.0.1.example/keys"}, "CAROM_OIDC_JWKS_URL"),
        ({"CAROM_OIDC_JWKS_URL": "https://id.example:x/"}, "CAROM_OIDC_JWKS_URL"),
        ({"CAROM_AUTH": "off"}, "CAROM_OIDC_ISSUER"),
        ({"CAROM_OIDC_ISSUER": ""}, "CAROM_OIDC_AUDIENCE"),
    ],
)
def test_tokens_need_all_of_their_settings(
    changed: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in OIDC.items():
        monkeypatch.setenv(name, value)
    assert load_settings(IntakeSettings).oidc_issuer, "and no file of keys"
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        load_settings(IntakeSettings)
    assert f"bad configuration: {named}: " in capsys.readouterr().err


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROM_EGRESS_ALLOW", "10.0.0.0/8, localhost,")
    monkeypatch.setenv("CAROM_CALLBACK_DELAYS", "0.1,5")
    settings = load_settings(CallbackSettings)
    assert settings.egress_allow == ("10.0.0.0/8", "localhost")
    assert settings.callback_delays == (0.1, 5.0)


def test_defaults_are_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RABBITMQ_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("CAROM_AUTH", "off")
    settings = load_settings(IntakeSettings)
    assert settings.rabbitmq_url.get_secret_value() == "amqp://localhost:5672"
    assert settings.redis_url.get_secret_value() == "redis://localhost:6379"
    assert settings.port == 3000


def test_urls_with_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "amqp://user:hunter2@host")
    monkeypatch.setenv("CAROM_AUTH", "off")
    assert "hunter2" not in repr(load_settings(IntakeSettings))


def test_files_of_tls_are_read_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot work is one line that names the variable, before anything connects."""
    authority = Authority(tmp_path)
    good, other = authority.pem("good", "carom"), authority.pem("other", "carom")
    locked = tmp_path / "locked.key"
    key = load_pem_private_key(good.key.read_bytes(), None)
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")))
    (tmp_path / "empty.pem").write_text("")

    def said(**files: object) -> str:
        with monkeypatch.context() as context:
            urls = {"RABBITMQ_URL": "amqps://h", "REDIS_URL": "rediss://h", "CAROM_CALLBACK_SECRET": ""}
            for name, value in (urls | files).items():
                context.setenv(name, str(value))
            with contextlib.suppress(SystemExit):
                load_settings(CallbackSettings)
        return capsys.readouterr().err

    both = {"CAROM_STORE_CERT_FILE": good.certificate, "CAROM_STORE_KEY_FILE": good.key}
    assert said(CAROM_BROKER_CA_FILE=authority.file, CAROM_STORE_CA_FILE=authority.file, **both) == ""
    for files, words in (
        ({"CAROM_BROKER_CA_FILE": "/nowhere/ca.pem"}, "CAROM_BROKER_CA_FILE: /nowhere/ca.pem cannot be read"),
        ({"CAROM_STORE_CA_FILE": tmp_path / "empty.pem"}, "CAROM_STORE_CA_FILE: "),
        ({"CAROM_STORE_CA_FILE": good.key}, "holds no CA certificate in PEM"),
        ({"CAROM_BROKER_CERT_FILE": good.certificate}, "CAROM_BROKER_CERT_FILE: "),
        ({"CAROM_BROKER_KEY_FILE": good.key}, "CAROM_BROKER_KEY_FILE: needs CAROM_BROKER_CERT_FILE too"),
        (both | {"CAROM_STORE_KEY_FILE": other.key}, "are no certificate with its key in PEM (KEY_VALUES_MISMATCH)"),
        (both | {"CAROM_STORE_KEY_FILE": locked}, "CAROM_STORE_CERT_FILE: the key is encrypted"),
        (both | {"REDIS_URL": "redis://h"}, "CAROM_STORE_CERT_FILE: is for TLS alone, and REDIS_URL"),
    ):
        line = said(**files)
        assert words in line
        assert line.count("\n") == 1
