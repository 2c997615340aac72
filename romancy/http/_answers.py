"""Answers in JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.http._refusal import Refused

__all__ = ["accepted", "answer", "answer_of"]


def answer(body: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer, which no cache keeps."""
    return Response(
        msgspec.json.encode(body),
        status_code=int(status),
        headers={"cache-control": "no-store", **(headers or {})},
        media_type="application/json",
    )


def accepted(instance_id: str | None = None, **more: object) -> dict[str, object]:
    """The answer's body for a durable event."""
    known = {} if instance_id is None else {"instance_id": instance_id}
    return {"status": "accepted", **known, **more}


def answer_of(refused: Refused, **more: object) -> Response:
    """The answer to a refused request."""
    return answer({**refused.body, **more}, refused.status, refused.headers)
