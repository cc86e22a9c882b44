"""TLS to RabbitMQ and Redis: who is trusted, who we are, and in plain words why a handshake failed.

The peer's certificate and host name are always checked; no setting and no parameter of a URL turns that off.
"""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

_ISSUERS = frozenset({2, 18, 19, 20, 21})
"""X509_V_ERR_* of OpenSSL: the issuer is not known, or signed itself."""
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})


class TlsError(OSError):
    """A file cannot be used; says which and why, in one line."""


class TlsFiles(NamedTuple):
    """PEM files. Empty: the system's CAs; no client certificate. A key may be in the certificate's file."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


NO_FILES = TlsFiles()


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """The files as they are now: each connect takes a new one, so that a renewed certificate needs no restart.

    TLS 1.2 or newer. Raises TlsError.
    """
    for path in filter(None, files):
        _readable(path)
    try:
        context = ssl.create_default_context(cafile=files.ca or None)
    except ssl.SSLError as error:
        raise TlsError(f"{files.ca} holds no CA certificate in PEM ({error.reason or error})") from None
    if files.certificate:
        try:
            context.load_cert_chain(files.certificate, files.key or None, password=_no_password)
        except ssl.SSLError as error:
            both = f"{files.certificate} and {files.key}" if files.key else files.certificate
            raise TlsError(f"{both} are no certificate with its key in PEM ({error.reason or error})") from None
    return context


def problem_with(names: Sequence[str], files: TlsFiles, *, secure: bool, url: str) -> str | None:
    """What is wrong with the settings `names` of these files, naming the variable; None when they can be used."""
    ca, certificate, key = names
    given = [name for name, path in zip(names, files, strict=True) if path]
    if given and not secure:
        return f"{given[0]}: is for TLS alone, and {url} does not ask for it"
    if files.key and not files.certificate:
        return f"{key}: needs {certificate} too"
    for name, part in ((ca, TlsFiles(files.ca)), (certificate, TlsFiles("", files.certificate, files.key))):
        try:
            client_context(part)
        except TlsError as error:
            return f"{name}: {error}"
    return None


def why(error: BaseException, what: str) -> str:
    """A failed handshake, or any other error, in one line; `what` is BROKER or STORE, as in the variables."""
    error = _handshake(error) or error
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"TLS: the certificate that it shows is refused: {error.verify_message}"
        return f"{text} (CAROM_{what}_CA_FILE names whom to trust)" if error.verify_code in _ISSUERS else text
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
            return f"TLS: it asks for a client certificate, see CAROM_{what}_CERT_FILE ({reason})"
        if "ALERT" in reason:
            return f"TLS: it refuses us, see CAROM_{what}_CERT_FILE ({reason})"
        return f"TLS: it does not speak TLS on this port ({reason})" if reason in _NOT_TLS else f"TLS: {reason}"
    return str(error) or type(error).__name__


def _handshake(error: BaseException) -> ssl.SSLError | None:
    """What a client's own exception hides: a failed handshake is the cause of a mere lost connection."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, ssl.SSLError):
        inner = inner.__cause__ or inner.__context__
    return inner


def _readable(path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise TlsError(f"{path} cannot be read ({error.strerror})") from None


def _no_password() -> NoReturn:
    """OpenSSL would ask on the terminal."""
    raise TlsError("the key is encrypted: store it without a password, readable by the service alone")
