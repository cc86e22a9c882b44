"""Whose keys sign: settings, and the file of keys, followed while it changes so that rotation needs no restart."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from carom_common.domain.signatures import EVERYBODY, InvalidKeys, Signer, Signers, parse_signers, signer_in, signer_of
from carom_common.settings import Settings
from carom_common.telemetry.logging import get_logger

WATCH_SECONDS = 1.0

log = get_logger()


def _check_secret(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        signer_in(value.get_secret_value())
    return value


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


class SigningSettings(Settings):
    """What callbacks and, where a job asks for it, target calls are signed with."""

    callback_secret: Annotated[SecretStr | None, BeforeValidator(_empty_is_none), AfterValidator(_check_secret)] = (
        Field(
            None,
            description="Signs callbacks when set (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64, or "
            "`whsk_` and an ed25519 private key; up to 8 at once, separated by spaces, for a rotation.",
        )
    )
    signing_file: str = Field(
        "",
        description="JSON file with such keys by tenant, `*` for those it does not name: `{<tenant>: [<key>, ...]}`; "
        "followed while it changes. Intake, which publishes the public ones, needs no more than `whpk_` keys in it.",
    )

    @model_validator(mode="after")
    def _check_signing(self) -> "SigningSettings":
        if self.signing_file:
            try:
                _, found = _read(Path(self.signing_file))
            except InvalidKeys as error:
                raise ValueError(f"CAROM_SIGNING_FILE: {error}") from error
            if self.callback_secret is not None and EVERYBODY in found:
                raise ValueError("CAROM_CALLBACK_SECRET: must be empty where CAROM_SIGNING_FILE has keys for `*`")
        return self


class SigningKeys:
    """The keys as settings and file last had them when they were good."""

    def __init__(self, settings: SigningSettings) -> None:
        secret = settings.callback_secret
        self._fixed = {EVERYBODY: signer_in(secret.get_secret_value())} if secret is not None else {}
        self._path = Path(settings.signing_file) if settings.signing_file else None
        self._seen: bytes | str = b""
        self._signers: Signers = self._fixed
        if self._path is not None:
            self._seen, found = _read(self._path)
            self._take(found)

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
            self._take(parse_signers(seen))
        except InvalidKeys as error:
            log.error("signing_keys_rejected", reason=str(error), kept=len(self._signers))

    def _take(self, found: dict[str, Signer]) -> None:
        if self._fixed and EVERYBODY in found:
            raise InvalidKeys("has keys for `*` beside CAROM_CALLBACK_SECRET")
        self._signers = self._fixed | found
        log.info("signing_keys_loaded", tenants=len(found))


def _read(path: Path) -> tuple[bytes, dict[str, Signer]]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidKeys(f"{path}: {error.strerror}") from None
    try:
        return text, parse_signers(text)
    except InvalidKeys as error:
        raise InvalidKeys(f"{path}: {error}") from None
