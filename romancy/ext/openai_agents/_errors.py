"""Errors cross from a step into the body as the classes they are, with what the provider has said.

The log has the attributes of an exception as far as they are JSON. The response of an HTTP error is made again of its
status and its headers, since the SDK and programs read them there.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any, Final

import agents.exceptions
import httpx2
import msgspec
import openai
from agents.exceptions import AgentsException
from openai import APIConnectionError, APIError, APIStatusError, OpenAIError, RateLimitError

__all__ = ["NOT_MENDED", "RAISED", "is_mended", "made_ready", "restored"]

_OF_CLIENT: Final[list[str]] = [name for name in dir(openai) if name.endswith("Error")]
_FOUND: Final = (*(getattr(openai, name) for name in _OF_CLIENT), *vars(agents.exceptions).values())
RAISED: Final[tuple[type[Exception], ...]] = tuple(
    dict.fromkeys(one for one in _FOUND if isinstance(one, type) and issubclass(one, OpenAIError | AgentsException))
)
"""The exceptions of the SDK and of its client that the body gets as themselves."""
NOT_MENDED: Final = (
    AgentsException,
    openai.APIResponseValidationError,
    openai.AuthenticationError,
    openai.BadRequestError,
    openai.NotFoundError,
    openai.PermissionDeniedError,
    openai.UnprocessableEntityError,
)
"""The same request would fail again, or asks to be answered otherwise."""
_EXHAUSTED: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_HEADERS: Final = "romancy_headers"
_KEPT: Final = ("retry-after", "retry-after-ms", "x-request-id", "x-should-retry")
_LARGEST_TEXT: Final = 2_000
_LARGEST_VALUE: Final = 3_000
"""Bytes of JSON. All that an error carries has to fit into 16 kB of the log."""
_NOWHERE: Final = "https://provider.invalid/"


def is_mended(error: Exception) -> bool:
    """Whether another attempt may succeed: not with an exhausted quota, nor if the provider says no."""
    if isinstance(error, RateLimitError) and error.code in _EXHAUSTED:
        return False
    return not isinstance(error, APIStatusError) or error.response.headers.get("x-should-retry") != "false"


def made_ready(error: Exception) -> None:
    """Leave no attribute at the error that the log could not hold. Called in the step that raises it."""
    if not isinstance(error, OpenAIError | AgentsException):
        return
    held = vars(error)
    response, request = held.pop("response", None), held.pop("request", None)
    for name in [name for name in held if name == "run_data" or (name[0] == "_" and name[:2] != "__")]:
        del held[name]
    for name, value in held.items():
        held[name] = _small(value)
    if isinstance(error, APIError):
        error.args = (error.message,)
    headers: Any = getattr(response, "headers", None)
    if headers is not None:
        held[_HEADERS] = {name: headers[name] for name in _KEPT if name in headers}
        if (asked := _asked_for(held[_HEADERS])) is not None:
            held["retry_after"] = asked
        # The policy of the step reads it, and what writes the error leaves it out.
        held["response"] = response
    if request is not None:
        held["request"] = request


def restored(error: Exception) -> Exception:
    """The error with its response, of one that was made from the log."""
    if not isinstance(error, APIError):
        return error
    held = vars(error)
    headers = held.pop(_HEADERS, None)
    for name in ("body", "code", "param", "type"):
        held.setdefault(name, None)
    request = httpx2.Request("POST", _NOWHERE)
    held.setdefault("request", request)
    if isinstance(error, APIStatusError):
        held.setdefault("request_id", None)
        held["response"] = httpx2.Response(error.status_code, headers=headers or {}, request=request)
    elif isinstance(error, APIConnectionError):
        held.setdefault("message", str(error))
    return error


def _asked_for(headers: dict[str, str]) -> float | None:
    """After how many seconds the provider wants to be asked again."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(headers["retry-after"]))
    except KeyError:
        return None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, ValueError):
        return None


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
