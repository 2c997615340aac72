"""Requests that are signed as Standard Webhooks."""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from standardwebhooks import Webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from romancy.http import Verified

    Verify = Callable[[bytes, Mapping[str, str]], Verified]

__all__ = ["BODY", "NEW", "NOW", "OLD", "standard"]


NOW = 1_772_000_000.0
OLD, NEW = "whsec_" + base64.b64encode(b"o" * 24).decode(), "whsec_" + base64.b64encode(b"n" * 32).decode()
BODY = '{"type": "invoice.paid", "id": "evt_1", "name": "é"}'.encode()


def standard(secret: str = NEW, *, body: bytes = BODY, id: str = "msg_1", at: float = NOW) -> dict[str, str]:
    signature = Webhook(secret).sign(id, datetime.fromtimestamp(at, UTC), body.decode())
    return {"webhook-id": id, "webhook-timestamp": str(math.floor(at)), "webhook-signature": signature}
