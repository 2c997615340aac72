"""The names of an agent's steps in the log."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from romancy.storage.limits import MAX_ID_BYTES

__all__ = ["fitting"]

_DIGEST: Final = 16
_MOST: Final = MAX_ID_BYTES - 12
"""Bytes of a name. The id of a call has a number behind it."""


def fitting(name: str) -> str:
    """The name, shortened so that no two long ones become one."""
    raw = name.encode()
    if len(raw) <= _MOST:
        return name
    return f"{raw[: _MOST - _DIGEST - 1].decode(errors='ignore')}~{sha256(raw).hexdigest()[:_DIGEST]}"
