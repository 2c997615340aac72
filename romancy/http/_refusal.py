"""Refusals: why a request is not carried out, as a status and a text. Pure.

The status says where the cause is. The sender's mistakes are a 4xx and `retryable` is false, except for 408, where the
sender was too slow. Transient conditions are a 5xx, and `retryable` is true.
"""

from __future__ import annotations

from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from romancy.errors import (
    InstanceConflictError,
    InstanceEndedError,
    InstanceNotFoundError,
    OutcomeUnknownError,
    PayloadTooLargeError,
    QuestionAnsweredError,
    QuestionNotFoundError,
    StartSkippedError,
    StorageConfigurationError,
    StorageUnavailableError,
    StreamGoneError,
    UsageError,
)
from romancy.serialization import WRITTEN_BEFORE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RETRY_AFTER", "Refused", "not_an_event", "refusal_of", "refusal_of_status", "unavailable"]

RETRY_AFTER: Final = 5
"""The seconds that a 503 asks the sender to wait."""

_KNOWN: Final[tuple[tuple[type[Exception], HTTPStatus], ...]] = (
    (InstanceNotFoundError, HTTPStatus.NOT_FOUND),
    (InstanceEndedError, HTTPStatus.CONFLICT),  # a 410 would tell event brokers to remove their subscription
    (InstanceConflictError, HTTPStatus.CONFLICT),
    (QuestionNotFoundError, HTTPStatus.NOT_FOUND),
    (QuestionAnsweredError, HTTPStatus.CONFLICT),
    (StreamGoneError, HTTPStatus.GONE),
    (StartSkippedError, HTTPStatus.CONFLICT),
    (PayloadTooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)


_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


class Refused(Exception):  # noqa: N818 - an answer, not a fault of the program
    """The request is answered with this status. The text says what is wrong and what to do; it holds no payload."""

    def __init__(
        self,
        status: HTTPStatus,
        error: str,
        error_type: str,
        *,
        retryable: bool = False,
        headers: dict[str, str] | None = None,
        beside: Mapping[str, object] = _NOTHING,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.error_type = error_type
        self.retryable = retryable
        self.headers = headers or {}
        self.beside = beside
        """What the answer has beside the error."""

    @property
    def body(self) -> dict[str, object]:
        """The JSON object of the answer."""
        return {"error": self.error, "error_type": self.error_type, "retryable": self.retryable, **self.beside}


def not_an_event(error: str, error_type: str = "ValidationError") -> Refused:
    """A 400: the request is malformed."""
    return Refused(HTTPStatus.BAD_REQUEST, error, error_type)


def unavailable(error: str) -> Refused:
    """A 503 that asks the sender to try again."""
    return Refused(
        HTTPStatus.SERVICE_UNAVAILABLE,
        error,
        "Unavailable",
        retryable=True,
        headers={"retry-after": str(RETRY_AFTER)},
    )


def refusal_of(error: Exception) -> Refused | None:
    """The answer to an error of this library; None for an unexpected one."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, OutcomeUnknownError):
        ids = ", ".join((*error.instance_ids, *filter(None, [error.message_id])))
        again = f"send it again ({ids})" if ids else "send it again"
        return unavailable(f"no answer came from the database, and the request may take effect; {again}")
    if isinstance(error, StorageUnavailableError | TimeoutError):
        return unavailable("the database is away or slow; send this again later")
    if isinstance(error, StorageConfigurationError):
        return unavailable("the database cannot be used as it is configured; the log of the server says more")
    name, text = type(error).__name__, str(error).removesuffix(f"; {WRITTEN_BEFORE}")
    for kind, status in _KNOWN:
        if isinstance(error, kind):
            return Refused(status, text, name, beside=_beside(error))
    if isinstance(error, UsageError):
        return not_an_event(text)
    return None


def _beside(error: Exception) -> Mapping[str, object]:
    if isinstance(error, QuestionAnsweredError):
        return {"how": error.how, "by": error.by, "at": error.at}
    if not isinstance(error, StartSkippedError):
        return _NOTHING
    return {
        "instance_id": error.instance_id, "limit": error.limit, "key": error.key, "holders": list(error.holders),
    }  # fmt: skip


def refusal_of_status(status: int) -> Refused:
    """The answer with a status that the router or a user's hook has chosen."""
    try:
        known = HTTPStatus(status)
    except ValueError:
        known = HTTPStatus.INTERNAL_SERVER_ERROR
    retryable = known >= HTTPStatus.INTERNAL_SERVER_ERROR or known == HTTPStatus.TOO_MANY_REQUESTS
    return Refused(known, known.phrase.lower(), known.phrase.title().replace(" ", ""), retryable=retryable)
