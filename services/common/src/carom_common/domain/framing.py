"""Hop-by-hop and framing headers (RFC 9110, 7.6.1; RFC 7540, 3.2.1): a connection's own, never a job's."""

FRAMING_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
