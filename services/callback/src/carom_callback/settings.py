"""The callback service's settings."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from carom_callback.signature import signing_key
from carom_common.settings import EgressSettings, split_list


def _check_secret(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        signing_key(value.get_secret_value())
    return value


def _check_delays(value: tuple[float, ...]) -> tuple[float, ...]:
    if not all(0.1 <= delay <= 86_400 for delay in value) or len(value) > 50:
        raise ValueError("must be at most 50 delays of 0.1 to 86400 seconds, comma separated")
    return value


def _empty_is_none(value: Any) -> Any:
    return None if value == "" else value


class CallbackSettings(EgressSettings):
    """Limits of one callback process, and how it signs and retries."""

    callback_concurrency: int = Field(256, ge=1, le=10_000, description="Callbacks that one process delivers at once.")
    callback_max_held: int = Field(
        256,
        ge=0,
        le=10_000,
        description="Early messages that one process holds for their last second, beside the calls.",
    )
    callback_timeout: float = Field(30, ge=0.1, le=300, description="Seconds for one call to a callback URL.")
    callback_delays: Annotated[
        tuple[float, ...], NoDecode, BeforeValidator(split_list), AfterValidator(_check_delays)
    ] = Field(
        (5, 300, 1800, 7200, 18_000, 21_600, 36_000),
        description="Seconds before each retry of a callback, comma separated: 8 attempts over about a day by default.",
    )
    callback_secret: Annotated[SecretStr | None, BeforeValidator(_empty_is_none), AfterValidator(_check_secret)] = (
        Field(None, description="Signs callbacks when set: `whsec_` and 24 to 64 bytes in base64 (Standard Webhooks).")
    )
