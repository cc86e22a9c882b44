"""Whose keys sign: settings, and the file of keys, followed while it changes so that rotation needs no restart."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from carom_common.domain.signatures import EVERYBODY, InvalidKeys, Signer, Signers, parse_signers, signer_in, signer_of
from carom_common.settings import Settings
from carom_common.telemetry import metrics
from carom_common.telemetry.logging import get_logger

WATCH_SECONDS = 1.0

log = get_logger()


def _check_secret(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        signer_in(value.get_secret_value())
    return value


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


class PublishingSettings(Settings):
    """Where the keys of tenants are: intake publishes the public ones."""

    signing_file: str = Field(
        "",
        description="JSON file with the keys that sign callbacks, and calls that ask for it (Standard Webhooks): "
        "`{<tenant>: [<key>, ...]}`, `*` for others; followed while it changes. Intake needs no more than `whpk_`.",
    )

    @model_validator(mode="after")
    def _check_signing(self) -> "PublishingSettings":
        try:
            SigningKeys(self)
        except InvalidKeys as error:
            raise ValueError(f"CAROM_SIGNING_FILE: {error}") from error
        return self


class SigningSettings(PublishingSettings):
    """What the services that sign read on top."""

    callback_secret: Annotated[SecretStr | None, BeforeValidator(_empty_is_none), AfterValidator(_check_secret)] = (
        Field(
            None,
            description="Signs for tenants that `CAROM_SIGNING_FILE` does not name: `whsec_` and 24 to 64 bytes in "
            "base64, or `whsk_` and an ed25519 private key; up to 8 at once, separated by spaces, for a rotation.",
        )
    )


class SigningKeys:
    """The keys as settings and file last had them when they were good."""

    def __init__(self, settings: PublishingSettings) -> None:
        """Raise InvalidKeys."""
        secret = settings.callback_secret if isinstance(settings, SigningSettings) else None
        self._fixed = {EVERYBODY: signer_in(secret.get_secret_value())} if secret is not None else {}
        self._path = Path(settings.signing_file) if settings.signing_file else None
        self._seen: bytes | str = b""
        self._signers: Signers = self._fixed
        if self._path is not None:
            self._seen, found = _read(self._path)
            self._signers = self._all(found)
            metrics.file_rejected.labels("signing-keys").set(0)

    def of(self, tenant: str) -> Signer | None:
        """All keys of a tenant, public ones alone included."""
        return signer_of(self._signers, tenant)

    def signer(self, tenant: str) -> Signer | None:
        """Who signs for a tenant; None where nobody does."""
        found = signer_of(self._signers, tenant)
        return found if found is not None and found.signs else None

    async def watch(self) -> None:
        """Follow the file for ever; like the file of API keys it is read, not only looked at."""
        while self._path is not None:
            await asyncio.sleep(WATCH_SECONDS)
            await asyncio.to_thread(self._look, self._path)

    def _look(self, path: Path) -> None:
        try:
            seen: bytes | str = path.read_bytes()
        except OSError as error:
            seen = f"{path}: {error.strerror}"
        if seen == self._seen:
            return
        self._seen = seen
        try:
            if isinstance(seen, str):
                raise InvalidKeys(seen)
            found = parse_signers(seen)
            self._signers = self._all(found)
        except InvalidKeys as error:
            metrics.file_rejected.labels("signing-keys").set(1)
            log.error("signing_keys_rejected", reason=str(error), kept=len(self._signers))
        else:
            metrics.file_rejected.labels("signing-keys").set(0)
            log.info("signing_keys_loaded", tenants=len(found))

    def _all(self, found: dict[str, Signer]) -> Signers:
        if self._fixed and EVERYBODY in found:
            raise InvalidKeys("has keys for `*`, which CAROM_CALLBACK_SECRET is for too: leave out one of the two")
        return self._fixed | found


def _read(path: Path) -> tuple[bytes, dict[str, Signer]]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidKeys(f"{path}: {error.strerror}") from None
    try:
        return text, parse_signers(text)
    except InvalidKeys as error:
        raise InvalidKeys(f"{path}: {error}") from None
