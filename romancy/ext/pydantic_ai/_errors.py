"""Model errors cross from a step into the body as the classes they are, with what providers have said.

The log has the attributes of an exception as far as they are JSON and not large. An error with an HTTP status is of a
class that has the name of its category, so it is made again here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from pydantic import TypeAdapter
from pydantic_ai import exceptions
from pydantic_ai.durable_exec._utils import mark_streamed_before_failing, streamed_before_failing
from pydantic_ai.exceptions import (
    AgentRunError,
    FallbackExceptionGroup,
    ModelAPIError,
    ModelHTTPError,
    RetryModelRequest,
    UserError,
)
from pydantic_ai.messages import ModelResponse

__all__ = ["RAISED", "made_ready", "restored"]

RAISED: Final[tuple[type[Exception], ...]] = tuple(
    one
    for one in (getattr(exceptions, name) for name in exceptions.__all__)
    if isinstance(one, type) and issubclass(one, (AgentRunError, FallbackExceptionGroup, RetryModelRequest, UserError))
)
"""The exceptions of pydantic-ai that the body gets as themselves."""

_CATEGORIES: Final = (
    exceptions.ModelRateLimitError,
    exceptions.ModelQuotaExceededError,
    exceptions.ModelUnavailableError,
    exceptions.ModelOverloadedError,
    exceptions.ModelServerError,
    exceptions.ModelRequestRejectedError,
    exceptions.ModelContextWindowExceededError,
    exceptions.ModelAuthenticationError,
    exceptions.ModelNotFoundError,
)
"""Those that an error with an HTTP status may belong to."""
_STREAMED: Final = "romancy_streamed"
_LARGEST_TEXT: Final = 2_000
_LARGEST_VALUE: Final = 3_000
"""Bytes of JSON. All that an error carries has to fit into 16 kB of the log."""
_ABSENT: Final[dict[str, Any]] = {
    "body": None, "provider_error_code": None, "provider_error_type": None, "retry_after": None, "in_stream": False,
}  # fmt: skip
_RESPONSE: Final[TypeAdapter[ModelResponse]] = TypeAdapter(ModelResponse)


def made_ready(error: ModelAPIError) -> None:
    """Leave no attribute at the error that the log could not hold. Called in the step that raises it."""
    streamed = streamed_before_failing(error)
    held = vars(error)
    for name in [name for name in held if name.startswith("_pydantic_ai_")]:
        del held[name]
    for name, value in held.items():
        held[name] = _small(value)
    error.args = (error.message,)
    if streamed is not None:
        held[_STREAMED] = _partial(streamed)


def restored(error: Exception) -> Exception:
    """The error as pydantic-ai raises it, of one that was made from the log."""
    if isinstance(error, FallbackExceptionGroup):
        return FallbackExceptionGroup(error.message, [restored(one) for one in error.exceptions])
    if not isinstance(error, ModelAPIError):
        return error
    held = vars(error)
    for name, value in _ABSENT.items():
        held.setdefault(name, value)
    streamed = held.pop(_STREAMED, None)
    again = _with_status(error, held) if "status_code" in held and not isinstance(error, ModelHTTPError) else error
    if isinstance(again, ModelHTTPError):
        for name in ("headers", "hint", "suggested_model_id"):
            vars(again).setdefault(name, None)
    if streamed is not None:
        mark_streamed_before_failing(again, _RESPONSE.validate_python(streamed))
    again.__cause__ = error.__cause__
    return again


def _with_status(error: ModelAPIError, held: dict[str, Any]) -> ModelHTTPError:
    """The error as one of its category and of an HTTP status."""
    category = next((one for one in _CATEGORIES if type(error) is one), None)
    again = ModelHTTPError.for_category(category, status_code=held["status_code"], model_name=error.model_name)
    vars(again).update(held)
    again.args = error.args
    return again


def _small(value: object) -> object:
    """The value, if it is JSON of a bounded size; else the beginning of its text."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    try:
        raw = msgspec.json.encode(value)
    except (TypeError, ValueError, UnicodeEncodeError):
        raw = b""
    if raw and len(raw) <= _LARGEST_VALUE:
        return value
    text = str(value)
    return text if len(text.encode(errors="replace")) <= _LARGEST_TEXT else f"{text[: _LARGEST_TEXT // 4]}…"


def _partial(response: ModelResponse) -> object:
    """What a stream had produced. Of a long one only the usage."""
    whole: object = _RESPONSE.dump_python(response, mode="json")
    if len(msgspec.json.encode(whole)) <= _LARGEST_VALUE:
        return whole
    return _RESPONSE.dump_python(ModelResponse(parts=[], usage=response.usage), mode="json")
