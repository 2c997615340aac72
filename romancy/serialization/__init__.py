"""JSON in and out by declared type, exceptions as data, and the codec hook around the bytes."""

from __future__ import annotations

from romancy.serialization._error_info import ErrorInfo, describe_exception, exception_name
from romancy.serialization._plan import dumps, loads
from romancy.serialization._rebuild import rebuild_exception
from romancy.serialization._where import Where

__all__ = [
    "ErrorInfo",
    "Where",
    "describe_exception",
    "dumps",
    "exception_name",
    "loads",
    "rebuild_exception",
]
