"""What the libraries of providers do where their types do not say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import stripe

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["sign_as_stripe"]

sign_as_stripe = cast(
    "Callable[..., str]",
    stripe.WebhookSignature.generate_signature_header,  # pyright: ignore[reportUnknownMemberType] - untyped in stripe
)
"""The `stripe-signature` of a body with a secret, now or at this second."""
