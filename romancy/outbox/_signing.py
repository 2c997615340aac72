"""Signatures by the Standard Webhooks specification (HMAC-SHA256)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Signer"]

_PREFIX: Final = "whsec_"
_SHORTEST: Final = 16


class Signer:
    """Signs with one or more secrets. With several, a receiver that knows one of them accepts the signature."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._keys = [_key(secret) for secret in secrets]

    def headers(self, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """The headers that go with this body."""
        content = f"{message_id}.{timestamp}.".encode() + body
        signatures = [base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in self._keys]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }

    def __bool__(self) -> bool:
        return bool(self._keys)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(
            "secret= takes secrets of Standard Webhooks, base64 behind `whsec_`; one of them is not base64"
        ) from None
    if len(key) < _SHORTEST:
        raise UsageError(f"secret= takes secrets of at least {_SHORTEST} bytes; one of them has {len(key)}")
    return key
