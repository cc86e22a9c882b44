"""The callback service's settings."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from carom_common.egress_settings import EgressSettings
from carom_common.settings import split_list
from carom_common.signing import SigningSettings


def _check_delays(value: tuple[float, ...]) -> tuple[float, ...]:
    if not all(0.1 <= delay <= 86_400 for delay in value) or len(value) > 50:
        raise ValueError("must be at most 50 delays of 0.1 to 86400 seconds, comma separated")
    return value


class CallbackSettings(EgressSettings, SigningSettings):
    """Limits of one callback process, and how it retries."""

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
