"""What every route does, a module for each part of the API."""

from carom_intake.openapi.operations import acting, contract, events, looking, operating, submitting

OPERATIONS = (
    *submitting.OPERATIONS,
    *looking.OPERATIONS,
    *events.OPERATIONS,
    *acting.OPERATIONS,
    *operating.OPERATIONS,
    *contract.OPERATIONS,
)
"""In the order of the document."""
