"""What every route does, a module for each part of the API."""

from carom_intake.openapi.operations import (
    acting,
    administering,
    contract,
    events,
    looking,
    operating,
    signing,
    submitting,
)

OPERATIONS = (
    *submitting.OPERATIONS,
    *looking.OPERATIONS,
    *events.OPERATIONS,
    *acting.OPERATIONS,
    *operating.OPERATIONS,
    *signing.OPERATIONS,
    *administering.OPERATIONS,
    *contract.OPERATIONS,
)
"""In the order of the document."""
