"""Describes why a receiver could not be reached, without secrets: the text of an error may quote the URL."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

__all__ = ["failure"]

_DEEPEST: Final = 10
_PORTS: Final = {"http": 80, "https": 443}


def failure(error: BaseException, url: str) -> str:
    """The kind of the error, host and port of the URL, and the cause: `ConnectError at localhost:80: …`."""
    cause = _cause(error)
    return f"{type(error).__name__} at {_place(url)}" + (f": {cause}" if cause else "")


def _place(url: str) -> str:
    """Host and port: neither user nor password, path or query."""
    parts = urlsplit(url)
    host = parts.hostname or "?"
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _PORTS.get(parts.scheme, '?')}"


def _cause(error: BaseException) -> str:
    """The text of the operating system or TLS, from the first such error in the chain of causes."""
    below: BaseException | None = error
    for _ in range(_DEEPEST):
        match below:
            case None:
                break
            case ssl.SSLCertVerificationError():
                return f"TLS: {getattr(below, 'verify_message', '') or 'the certificate is not trusted'}"
            case ssl.SSLError():
                return f"TLS: {(below.reason or 'failed').replace('_', ' ').lower()}"
            case socket.gaierror():
                return f"DNS: {below.strerror or 'the name is not known'}"
            case ConnectionRefusedError():
                return "connection refused"
            case OSError() if below.errno is not None:
                return os.strerror(below.errno)
            case BaseExceptionGroup():
                below = below.exceptions[0]
            case _:
                below = below.__cause__ or below.__context__
    return ""
