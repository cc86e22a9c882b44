"""The executor's settings."""

from pydantic import Field

from carom_common.egress_settings import EgressSettings
from carom_common.signing import SigningSettings


class ExecutorSettings(EgressSettings, SigningSettings):
    """Limits of one executor process."""

    executor_concurrency: int = Field(256, ge=1, le=10_000, description="Calls that one executor makes at once.")
    executor_max_held: int = Field(
        256,
        ge=0,
        le=10_000,
        description="Early messages that one executor holds for their last second, beside the calls.",
    )
