"""The API's own description."""

from carom_intake.openapi.describing import Answer, Operation

OPERATIONS = (
    Operation(
        "GET",
        "/openapi.json",
        "getOpenApi",
        "contract",
        "This document",
        "OpenAPI 3.1.",
        None,
        {200: Answer("The document.", {"type": "object", "required": ["openapi", "info", "paths"]})},
    ),
    Operation(
        "GET",
        "/docs",
        "getDocs",
        "contract",
        "This document as a page",
        "Plain HTML; nothing is loaded from elsewhere.",
        None,
        {200: Answer("The page.", {"type": "string"}, media="text/html")},
    ),
)
