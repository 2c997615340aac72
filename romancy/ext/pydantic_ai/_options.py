"""Which errors no attempt of a step mends."""

from __future__ import annotations

from typing import Final

from pydantic.errors import PydanticUserError
from pydantic_ai.exceptions import (
    FallbackExceptionGroup,
    ModelQuotaExceededError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    RetryModelRequest,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)

__all__ = ["NOT_MENDED"]

NOT_MENDED: Final = (
    FallbackExceptionGroup,
    ModelQuotaExceededError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    PydanticUserError,
    RetryModelRequest,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)
"""The same request would fail again, or asks to be answered otherwise."""
