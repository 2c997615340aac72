"""Page tokens: where a page ended, bound to its query.

A token is URL-safe base64 of: a version byte, eight bytes of the query's fingerprint, a check sum over everything else,
the row's creation time, and its id. The check sum has a fixed key, because the processes of an installation share no
secret. It finds damage, mix-ups and hand-made tokens, but a reader of this file can make a valid token. Such a token
only names a position in a list that its holder may read anyway.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct as Layout

from msgspec import Struct

from romancy.errors import QueryError

__all__ = ["Position", "decode_token", "encode_token"]

_VERSION = 1
_HEAD = Layout(">B8s16s")
_TIME = Layout(">q")
_KEY = b"romancy page token"
_MAX_TOKEN_LENGTH = 1024


class Position(Struct, frozen=True):
    """The place of a row in the order of pages. The time is in microseconds."""

    created_at: int
    instance_id: str


def encode_token(fingerprint: bytes, position: Position) -> str:
    """A token that `decode_token` accepts only with the same fingerprint."""
    body = _TIME.pack(position.created_at) + position.instance_id.encode()
    head = _HEAD.pack(_VERSION, fingerprint[:8], _check(fingerprint, body))
    return urlsafe_b64encode(head + body).rstrip(b"=").decode()


def decode_token(fingerprint: bytes, token: str) -> Position:
    """The position in a token. `QueryError` if the token is damaged, of another version or of another query."""
    sealed = _unwrap(token)
    version, owner, check = _HEAD.unpack_from(sealed)
    if version != _VERSION:
        raise QueryError("page_token: made by another version; begin again at the first page")
    if owner != fingerprint[:8]:
        raise QueryError(
            "page_token: belongs to another query; pass the same filters and order as for the page it came from"
        )
    body = sealed[_HEAD.size :]
    if not compare_digest(check, _check(fingerprint, body)):
        raise _damaged()
    (created_at,) = _TIME.unpack_from(body)
    return Position(created_at, body[_TIME.size :].decode())


def _unwrap(token: object) -> bytes:
    if not isinstance(token, str) or len(token) > _MAX_TOKEN_LENGTH:
        raise _damaged()
    try:
        sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        raise _damaged() from None
    # The decoder skips characters that are not base64, but a token has only one spelling.
    if len(sealed) <= _HEAD.size + _TIME.size or urlsafe_b64encode(sealed).rstrip(b"=").decode() != token:
        raise _damaged()
    return sealed


def _check(fingerprint: bytes, body: bytes) -> bytes:
    return blake2b(fingerprint + body, key=_KEY, digest_size=16).digest()


def _damaged() -> QueryError:
    return QueryError("page_token: damaged or not a page token; pass it as the page before gave it")
