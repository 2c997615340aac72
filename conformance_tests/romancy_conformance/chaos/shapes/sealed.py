"""A codec that seals payloads, and the apps of a process: one writes plainly, the other with this codec.

Each worker process has both on one database. A workflow belongs to one of them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy.serialization import PayloadContext

__all__ = ["Sealing"]

_SEAL = 16


class Sealing:
    """Turns the bytes around behind a seal that only fits their place."""

    id = "chaos-seal:1"

    def encode(self, data: bytes, context: PayloadContext) -> bytes:
        """Seal the bytes."""
        return _seal(data, context) + data[::-1]

    def decode(self, data: bytes, context: PayloadContext) -> bytes:
        """Open them. Raises ValueError if the seal is of another place or of other bytes."""
        opened = data[_SEAL:][::-1]
        if data[:_SEAL] != _seal(opened, context):
            raise ValueError("a broken seal")
        return opened


def _seal(data: bytes, context: PayloadContext) -> bytes:
    return hashlib.sha256(context.as_bytes() + data).digest()[:_SEAL]
