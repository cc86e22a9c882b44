"""Errors of the developer's stack; the message is one line for a person."""


class DevstackError(Exception):
    """Something a person can put right: a taken port, a missing binary, a server that does not start."""
