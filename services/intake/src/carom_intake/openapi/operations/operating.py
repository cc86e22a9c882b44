"""Holding work, and the limits of destinations."""

from carom_common.domain.rules import MAX_HOST
from carom_intake.domain.keys import Scope
from carom_intake.openapi.describing import Answer, Body, Operation, Parameter
from carom_intake.openapi.operations.common import AT, LIMIT
from carom_intake.openapi.shapes import listed, ref

_HOST = Parameter(
    "host",
    "`host` or `host:port` in lower case, IPv6 in brackets, without the port 80 or 443 of its scheme.",
    {"type": "string", "maxLength": MAX_HOST, "pattern": r"^[^/?#@\\ %A-Z]+$"},
    "path",
)
_SHOWN = {200: Answer("The destination, and how it is now.", ref("Destination"))}
_SELECTIONS = {
    "all": ("All jobs", {}),
    "host": ("Those for one host", {"host": "example.com"}),
    "label": ("Those with one label", {"label": {"key": "team", "value": "billing"}}),
}
_PAUSES = {
    200: Answer(
        "The pauses that are in force now.",
        ref("Pauses"),
        {"pauses": [{"host": "example.com", "label": None, "since": AT}]},
    )
}

OPERATIONS = (
    Operation(
        "POST",
        "/api/pause",
        "pause",
        "operating",
        "Hold work",
        "All jobs, those for a host, or those with a label. What runs goes on, callbacks too; nothing is lost.",
        Scope.OPERATE,
        _PAUSES,
        (400, 409, 413, 415, 503),
        (),
        Body(ref("Selector"), _SELECTIONS),
    ),
    Operation(
        "POST",
        "/api/resume",
        "resume",
        "operating",
        "Let held work go on",
        "Ends the pause that was made with the same body, and no other.",
        Scope.OPERATE,
        _PAUSES,
        (400, 413, 415, 503),
        (),
        Body(ref("Selector"), _SELECTIONS),
    ),
    Operation(
        "GET",
        "/api/pauses",
        "listPauses",
        "operating",
        "List the pauses in force",
        "Of the caller's tenant.",
        Scope.OPERATE,
        _PAUSES,
        (503,),
    ),
    Operation(
        "GET",
        "/api/destinations",
        "listDestinations",
        "operating",
        "List the destinations that have rules",
        "By name; of the API and of the configuration.",
        Scope.OPERATE,
        {200: Answer("A page.", listed("destinations", "DestinationRules"), {"destinations": [], "nextCursor": None})},
        (400, 503),
        (LIMIT, Parameter("cursor", "`nextCursor` of the page before.", {"type": "string"})),
    ),
    Operation(
        "GET",
        "/api/destinations/{host}",
        "getDestination",
        "operating",
        "Show a destination",
        "Its limits, who said so, and how it is now.",
        Scope.OPERATE,
        _SHOWN,
        (400, 503),
        (_HOST,),
    ),
    Operation(
        "PUT",
        "/api/destinations/{host}",
        "setDestination",
        "operating",
        "Set the limits of a destination",
        "In place of all that was set before; what is left out is as configured.",
        Scope.OPERATE,
        _SHOWN,
        (400, 409, 413, 415, 503),
        (_HOST,),
        Body(
            ref("Rule"),
            {
                "slow": (
                    "Two calls at once, ten a second",
                    {"concurrency": 2, "rate": {"perSecond": 10, "burst": 5}},
                ),
                "circuit": ("A circuit that opens early", {"circuit": {"failures": 3, "openSeconds": 60}}),
            },
        ),
    ),
    Operation(
        "DELETE",
        "/api/destinations/{host}",
        "resetDestination",
        "operating",
        "Reset the limits of a destination",
        "Back to what is configured, or to the defaults.",
        Scope.OPERATE,
        {204: Answer("They are reset.")},
        (400, 503),
        (_HOST,),
    ),
)
