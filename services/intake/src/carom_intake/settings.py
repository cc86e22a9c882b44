"""Intake's settings."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from carom_common.contracts.message import DEFAULT_TENANT
from carom_common.egress_settings import OutboundSettings
from carom_common.settings import NameList
from carom_common.signing import PublishingSettings
from carom_common.tls import TlsError, TlsFiles, client_context
from carom_intake.domain.addresses import parse_address, parse_networks
from carom_intake.domain.keys import TENANT, KeyRate
from carom_intake.domain.tokens import Expected
from carom_intake.keyring import read_keys
from carom_intake.oidc import Oidc, Provider


def _check_tenant(value: str) -> str:
    if value and not re.fullmatch(TENANT, value):
        raise ValueError(f"must be empty or match {TENANT}")
    return value


def _check_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    parse_networks(value)
    return value


class IntakeSettings(OutboundSettings, PublishingSettings):
    """Where the API listens and how much it takes."""

    port: int = Field(3000, ge=0, le=65535, description="Port of the API.")
    max_payload: int = Field(262_144, ge=1, le=1_048_576, description="Largest `payload` of a job, in bytes of JSON.")
    max_body: int = Field(393_216, ge=1024, le=4_194_304, description="Largest request body, in bytes.")
    max_batch_body: int = Field(
        16_777_216, ge=1024, le=67_108_864, description="Largest body of a batch (`POST /api/jobs/batch`), in bytes."
    )
    head_timeout: float = Field(
        10, ge=0.1, le=300, description="Seconds in which the request line and headers must arrive."
    )
    body_timeout: float = Field(30, ge=0.1, le=3600, description="Seconds in which a body must arrive after them.")
    max_backlog: int = Field(
        2_000_000,
        ge=1,
        le=1_000_000_000,
        description="Open jobs, of all tenants, above which new ones are answered with 503 and reason `backlog-full`.",
    )
    max_streams: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Event streams and waiting submissions (`Prefer: wait`) open at once; more get a 503, or no wait.",
    )
    stream_seconds: float = Field(
        3600, ge=1, le=86_400, description="How long one event stream goes on; clients come back by themselves."
    )
    auth: Literal["keys", "off"] = Field(
        "keys",
        description="`keys`: callers need an API key. `off`: anybody may do anything, on a private network only.",
    )
    keys_file: str = Field(
        "", description="JSON file with the API keys; followed while it changes. Required unless `CAROM_AUTH` is `off`."
    )
    oidc_issuer: str = Field(
        "", description="`iss` of tokens (JWT) that are taken in place of an API key; empty: none are."
    )
    oidc_audience: str = Field("", description="`aud` that such tokens must name. Required with an issuer.")
    oidc_jwks_url: str = Field(
        "", description="Where the issuer's public keys (JWKS) are: `https`, or `http` on a loopback address."
    )
    oidc_ca_file: str = Field("", description="PEM file with the CAs of that URL; empty: those of the system.")
    oidc_tenant_claim: str = Field(
        "tenant",
        min_length=1,
        description="Claim with the tenant: its name, or a JSON Pointer such as `/carom/tenant`.",
    )
    oidc_scope_claim: str = Field(
        "scope", min_length=1, description="Claim with the scopes, as a list or with spaces between; named alike."
    )
    oidc_leeway: float = Field(30, ge=0, le=300, description="Seconds that the issuer's clock may differ from ours.")
    operator_tenant: Annotated[str, AfterValidator(_check_tenant)] = Field(
        DEFAULT_TENANT,
        description="Tenant whose admins manage the API keys, and see the audit trail, of all tenants; empty: nobody.",
    )
    trusted_proxies: Annotated[NameList, AfterValidator(_check_networks)] = Field(
        (),
        description="CIDRs, comma separated, of proxies whose `X-Forwarded-For` says where a request comes from.",
    )
    key_rate: float = Field(
        0, ge=0, le=100_000, description="Requests a second for each key that has no rate of its own; 0: any number."
    )
    key_burst: int = Field(
        0, ge=0, le=1_000_000, description="Requests of such a key at once; 0: as many as it may make in a second."
    )
    tenant_jobs: int = Field(
        0,
        ge=0,
        le=1_000_000_000,
        description="Open jobs that a tenant may have; more get a 429 with reason `quota-jobs`. 0: any number.",
    )
    tenant_bytes: int = Field(
        0,
        ge=0,
        le=1_000_000_000_000_000,
        description="Bytes of jobs that a tenant may hand in within `CAROM_RETENTION`, which is about what is kept of "
        "them; more get a 429 with reason `quota-bytes`. 0: any number.",
    )

    @model_validator(mode="after")
    def _check_oidc(self) -> "IntakeSettings":
        others = {
            "CAROM_OIDC_AUDIENCE": self.oidc_audience,
            "CAROM_OIDC_JWKS_URL": self.oidc_jwks_url,
            "CAROM_OIDC_CA_FILE": self.oidc_ca_file,
        }
        if not self.oidc_issuer:
            for name, value in others.items():
                if value:
                    raise ValueError(f"{name}: is for tokens of an issuer, and CAROM_OIDC_ISSUER names none")
            return self
        if self.auth == "off":
            raise ValueError("CAROM_OIDC_ISSUER: nobody is asked for a token while CAROM_AUTH is off")
        if not self.oidc_audience:
            raise ValueError("CAROM_OIDC_AUDIENCE: must say for whom tokens are, or those for others would count here")
        if not _is_key_set_url(self.oidc_jwks_url):
            raise ValueError("CAROM_OIDC_JWKS_URL: must be an https URL (http on a loopback address only)")
        if self.oidc_ca_file:
            try:
                client_context(TlsFiles(self.oidc_ca_file))
            except TlsError as error:
                raise ValueError(f"CAROM_OIDC_CA_FILE: {error}") from error
        return self

    @model_validator(mode="after")
    def _check_keys(self) -> "IntakeSettings":
        """A service that could let nobody in does not start."""
        if self.auth == "keys":
            if not self.keys_file and self.oidc_issuer:
                return self
            if not self.keys_file:
                raise ValueError("CAROM_KEYS_FILE: must name the file of API keys (CAROM_AUTH=off does without keys)")
            try:
                read_keys(Path(self.keys_file))
            except ValueError as error:
                raise ValueError(f"CAROM_KEYS_FILE: {error}") from error
        return self


def _is_key_set_url(url: str) -> bool:
    """Keys that come over a network in clear are anybody's."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    loopback = host == "localhost" or getattr(parse_address(host), "is_loopback", False)
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and loopback))


def oidc_of(settings: IntakeSettings) -> Oidc | None:
    """Tokens of the provider that the settings name."""
    if not settings.oidc_issuer:
        return None
    expected = Expected(
        settings.oidc_issuer,
        settings.oidc_audience,
        settings.oidc_scope_claim,
        settings.oidc_tenant_claim,
        settings.oidc_leeway,
    )
    return Oidc(Provider(settings.oidc_jwks_url, settings.oidc_ca_file), expected)


def default_rate(settings: IntakeSettings) -> KeyRate | None:
    """The rate of keys that have none of their own; None for no limit."""
    return KeyRate(settings.key_rate, settings.key_burst or None) if settings.key_rate else None
