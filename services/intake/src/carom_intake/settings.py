"""Intake's settings."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from carom_common.settings import Settings
from carom_intake.keyring import read_keys


class IntakeSettings(Settings):
    """Where the API listens and how much it takes."""

    port: int = Field(3000, ge=0, le=65535, description="Port of the API.")
    max_payload: int = Field(262_144, ge=1, le=1_048_576, description="Largest `payload` of a job, in bytes of JSON.")
    max_body: int = Field(393_216, ge=1024, le=4_194_304, description="Largest request body, in bytes.")
    max_batch_body: int = Field(
        16_777_216, ge=1024, le=67_108_864, description="Largest body of a batch (`POST /api/jobs/batch`), in bytes."
    )
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

    @model_validator(mode="after")
    def _check_keys(self) -> "IntakeSettings":
        """A service that could let nobody in does not start."""
        if self.auth == "keys":
            if not self.keys_file:
                raise ValueError("CAROM_KEYS_FILE: must name the file of API keys (CAROM_AUTH=off does without keys)")
            try:
                read_keys(Path(self.keys_file))
            except ValueError as error:
                raise ValueError(f"CAROM_KEYS_FILE: {error}") from error
        return self
