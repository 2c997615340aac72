"""Exceptions for answers other than the page: a refusal, with text and status, or another answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

__all__ = ["InsteadError", "RefusedError", "bad_request", "forbidden", "not_found"]


class RefusedError(Exception):
    """The request is refused; the page says why and what to do."""

    def __init__(self, status: int, words: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.headers = dict(headers or {})


class InsteadError(Exception):
    """Sends this answer instead of the page."""

    def __init__(self, response: Response) -> None:
        super().__init__("answered already")
        self.response = response


def bad_request(words: str) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, words)


def forbidden(words: str) -> RefusedError:
    return RefusedError(HTTPStatus.FORBIDDEN, words)


def not_found(words: str) -> RefusedError:
    return RefusedError(HTTPStatus.NOT_FOUND, words)
