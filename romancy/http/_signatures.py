"""Verifiers for Standard Webhooks, GitHub and Stripe. Each takes several secrets, for the time of a rotation."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from romancy.errors import UsageError
from romancy.http._fields import only_one
from romancy.http._given import check_texts
from romancy.http._json import checked
from romancy.http._webhooks import VerificationError, Verified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["GitHub", "StandardWebhooks", "Stripe"]

_WINDOW: Final = 300.0
_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_PREFIX: Final = "whsec_"
_SHORTEST: Final = 16
"""The bytes of a secret of Standard Webhooks, as for those who sign with one (`romancy.outbox`)."""


class _Signed(NamedTuple):
    """A signed text, with the signatures of which one has to be valid."""

    text: bytes
    signatures: Sequence[bytes]


class _Secrets:
    """The keys of a provider. All are tried, and each comparison takes constant time."""

    def __init__(self, keys: Iterable[bytes], who: str) -> None:
        self._keys = tuple(keys)
        if not self._keys or not all(self._keys):
            raise UsageError(f"{who} takes at least one secret, and none may be empty")

    def check(self, signed: _Signed) -> None:
        found = False
        for key in self._keys:
            expected = hmac.digest(key, signed.text, hashlib.sha256)
            for given in signed.signatures:
                found |= hmac.compare_digest(expected, given)
        if not found:
            raise VerificationError("no signature of the request is valid")


class StandardWebhooks:
    """Requests signed as [Standard Webhooks](https://www.standardwebhooks.com) has it, with secrets like `whsec_…`.

    `webhook-id` is the id of the delivery, and the member `type` of the body the type of its event. A request older or
    newer than `window` seconds is refused.
    """

    def __init__(self, *secrets: str | bytes, window: float = _WINDOW, now: Callable[[], float] = time.time) -> None:
        check_texts(secrets, "StandardWebhooks", "secrets", bytes_too=True)
        self._secrets = _Secrets(map(_key, secrets), "StandardWebhooks")
        self._window = window
        self._now = now

    def __call__(self, body: bytes, headers: Mapping[str, str], /) -> Verified:
        """Verify a request. Raises VerificationError."""
        id, sent = _header(headers, "webhook-id"), _header(headers, "webhook-timestamp")
        given = _header(headers, "webhook-signature")
        _check_age(sent, self._window, self._now)
        signatures = [_bytes(each[3:]) for each in given.split(" ") if each.startswith("v1,")]
        self._secrets.check(_Signed(b".".join((id.encode("latin-1"), sent.encode(), body)), signatures))
        return Verified(id, _text_in(body, "type"))


class GitHub:
    """Requests that GitHub signs with `x-hub-signature-256`. Set their content type to `application/json`.

    `x-github-delivery` is the id of the delivery, and `x-github-event` the type of its event. GitHub signs the body
    alone: neither these headers nor a time.
    """

    def __init__(self, *secrets: str | bytes) -> None:
        check_texts(secrets, "GitHub", "secrets", bytes_too=True)
        self._secrets = _Secrets((each.encode() if isinstance(each, str) else each for each in secrets), "GitHub")

    def __call__(self, body: bytes, headers: Mapping[str, str], /) -> Verified:
        """Verify a request. Raises VerificationError."""
        given = _header(headers, "x-hub-signature-256")
        if not given.startswith("sha256="):
            raise VerificationError("the signature is malformed")
        self._secrets.check(_Signed(body, [_bytes_of_hex(given.removeprefix("sha256="))]))
        return Verified(only_one(headers, "x-github-delivery"), only_one(headers, "x-github-event"))


class Stripe:
    """Requests that Stripe signs with `stripe-signature`.

    The members `id` and `type` of the body are the id of the delivery and the type of its event. A request older or
    newer than `window` seconds is refused.
    """

    def __init__(self, *secrets: str, window: float = _WINDOW, now: Callable[[], float] = time.time) -> None:
        check_texts(secrets, "Stripe", "secrets")
        self._secrets = _Secrets((each.encode() for each in secrets), "Stripe")
        self._window = window
        self._now = now

    def __call__(self, body: bytes, headers: Mapping[str, str], /) -> Verified:
        """Verify a request. Raises VerificationError."""
        pairs = [part.strip().partition("=") for part in _header(headers, "stripe-signature").split(",")]
        times = [value for name, _, value in pairs if name == "t"]
        if len(times) != 1:
            raise VerificationError("the signature is malformed")
        _check_age(times[0], self._window, self._now)
        signatures = [_bytes_of_hex(value) for name, _, value in pairs if name == "v1"]
        self._secrets.check(_Signed(b"%b.%b" % (times[0].encode(), body), signatures))
        return Verified(_text_in(body, "id"), _text_in(body, "type"))


def _key(secret: str | bytes) -> bytes:
    key = _decoded(secret)
    if key and len(key) < _SHORTEST:
        raise UsageError(f"StandardWebhooks takes secrets of at least {_SHORTEST} bytes; one of them has {len(key)}")
    return key


def _decoded(secret: str | bytes) -> bytes:
    if isinstance(secret, bytes):
        return secret
    text = secret.removeprefix(_PREFIX)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(
            "a secret of Standard Webhooks is base64, usually behind whsec_; give other keys as bytes"
        ) from None


def _header(headers: Mapping[str, str], name: str) -> str:
    value = only_one(headers, name)
    if not value:
        raise VerificationError(f"the header {name} is missing")
    return value


def _check_age(sent: str, window: float, now: Callable[[], float]) -> None:
    if _SECONDS.fullmatch(sent) is None:
        raise VerificationError("the time of the signature is malformed")
    if abs(now() - int(sent)) > window:
        raise VerificationError(f"the signature is more than {window:g} s from the present")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _bytes_of_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _text_in(body: bytes, member: str) -> str | None:
    """A text in the body of a request that has been verified."""
    value = checked(body, "the body")
    found: Any = cast("dict[str, Any]", value).get(member) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None
