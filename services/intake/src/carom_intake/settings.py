"""Intake's settings."""

from pydantic import Field

from carom_common.settings import Settings


class IntakeSettings(Settings):
    """Where the API listens and how much it takes."""

    port: int = Field(3000, ge=0, le=65535, description="Port of the API.")
    max_payload: int = Field(262_144, ge=1, le=1_048_576, description="Largest `payload` of a job, in bytes of JSON.")
    max_body: int = Field(393_216, ge=1024, le=4_194_304, description="Largest request body, in bytes.")
