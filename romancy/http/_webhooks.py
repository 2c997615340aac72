"""Webhooks: signed requests of providers. The raw body is verified before it is parsed."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar, cast

from msgspec import Raw

from romancy.errors import UsageError
from romancy.event import EventType
from romancy.http._decisions import Sending, typed
from romancy.http._fields import only_one
from romancy.http._given import kind_of
from romancy.http._handlers import check_handler
from romancy.http._identity import instance_id_of
from romancy.http._incoming import Incoming
from romancy.http._json import checked
from romancy.http._refusal import Refused, not_an_event
from romancy.storage.limits import check_event, check_id

if TYPE_CHECKING:
    from romancy.http._fields import Fields

__all__ = ["Delivery", "Hook", "VerificationError", "Verified", "Verifier", "Webhook"]


class VerificationError(Exception):
    """The request is not from the provider, or too old: it is answered with 401. Verifiers raise it."""


class Verified(NamedTuple):
    """The facts about a genuine request: the provider's id of the delivery, and the type of its event."""

    id: str | None = None
    type: str | None = None


class Verifier(Protocol):
    """Checks whether a request is genuine. A function of yours may be a verifier.

    It gets the raw body, and the headers by their names in lower case, the lines of one name joined by commas. For a
    request that is not genuine it raises VerificationError. For a genuine one it returns the id of the delivery, a
    `Verified`, or None. False is answered with 401 and anything else with 500: neither admits.
    """

    def __call__(self, body: bytes, headers: Mapping[str, str], /) -> Verified | str | None: ...


@dataclass(frozen=True)
class Delivery:
    """A genuine request of a provider."""

    id: str
    """The provider's id of the delivery, or the digest of the body. A redelivery has the same."""
    type: str | None
    """The type of its event, as the provider has it."""
    source: str
    """The path of the webhook."""
    body: bytes
    headers: Mapping[str, str]

    @cached_property
    def data(self) -> Any:
        """The body as plain JSON values."""
        return checked(self.body, "the body")

    @property
    def instance_id(self) -> str:
        """An instance id for what this delivery starts: the same for each redelivery."""
        return instance_id_of(self.source, self.id)


WhichEvent: TypeAlias = "EventType[Any] | str | Callable[[Delivery], EventType[Any] | str | None] | None"
Hook: TypeAlias = Callable[[Delivery], Awaitable[object]]
H = TypeVar("H", bound=Hook)


class Webhook:
    """A route for one provider. As a decorator it gives the deliveries to a function; else they are sent as events."""

    def __init__(
        self,
        path: str,
        verify: Verifier,
        event: WhichEvent,
        id: str | Callable[[Delivery], str] | None,
        types: Mapping[str, EventType[Any]],
        stored: Callable[[bytes], int] = len,
    ) -> None:
        _check_verifier(verify)
        self.path = path
        self._verify = verify
        self._event = event
        self._id = id
        self._types = types
        self._stored = stored
        self.handler: Hook | None = None

    def __call__(self, fn: H, /) -> H:
        """Give each delivery to this function, an `async def`, instead of an event. A redelivery comes again."""
        check_handler(fn, f"webhook {self.path}")
        self.handler = fn
        return fn

    async def verified(self, fields: Fields, body: bytes) -> Delivery:
        """The delivery. Raises Refused if it is not genuine."""
        headers = fields.joined()
        try:
            found: Any = self._verify(body, headers)
            if inspect.isawaitable(found):
                found = await found
        except VerificationError as error:
            raise Refused(HTTPStatus.UNAUTHORIZED, str(error), "VerificationError") from None
        verified = self._checked(found)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        delivery = Delivery(verified.id or digest, verified.type, self.path, body, headers)
        if self._id is None:
            return delivery
        chosen = only_one(headers, self._id.lower()) if isinstance(self._id, str) else self._id(delivery)
        if not chosen:
            raise not_an_event("the delivery has no id")
        return Delivery(chosen, delivery.type, self.path, body, headers)

    def _checked(self, found: Any) -> Verified:
        """Check the verifier's return value. Raises Refused for False, and TypeError for a value that is no answer."""
        if found is False:
            raise Refused(HTTPStatus.UNAUTHORIZED, "the verifier refuses the request", "VerificationError")
        verified = found if isinstance(found, Verified) else Verified(found)
        given = cast("tuple[object, ...]", verified)
        if all(each is None or isinstance(each, str) for each in given):
            return verified
        kind = "a Verified of something else than texts" if isinstance(found, Verified) else type(found).__name__
        raise TypeError(
            f"verify= of the webhook {self.path} returned {kind}, so the request is not admitted; a verifier raises "
            "VerificationError, or returns the id of the delivery, a Verified or None"
        )

    def sending(self, delivery: Delivery) -> Sending | None:
        """The event to send for a delivery; None if it is of no interest. Raises Refused if the data does not fit."""
        chosen = self._event(delivery) if callable(self._event) else self._event
        if chosen is None and self._event is not None:
            return None
        chosen = delivery.type if chosen is None else chosen
        if not chosen:
            raise not_an_event("the delivery names no type of event")
        name = chosen.name if isinstance(chosen, EventType) else chosen
        check_id(name, "type of the event")
        declared = chosen if isinstance(chosen, EventType) else self._types.get(name)
        raw = Raw(delivery.body)
        checked(raw, "the body")
        check_event(delivery.body, "the body", self._stored)
        data = typed(raw, object if declared is None else declared.data, f"data of event {name!r}")
        event = Incoming(
            id=delivery.id,
            source=delivery.source,
            type=name,
            subject=None,
            time=None,
            instance_id=None,
            headers={},
            extensions={},
            data=raw,
        )
        return Sending(name if declared is None else declared, data, event)


def _check_verifier(verify: Any) -> None:
    """Raise UsageError for a class, which would take any request for its arguments, and for what cannot be called."""
    if isinstance(verify, type):
        raise UsageError(f"verify= takes a verifier, not a class; write verify={verify.__name__}(secret)")
    if not callable(verify):
        raise UsageError(
            f"verify= takes a verifier, not {kind_of(verify)}; write verify=GitHub(secret), for example, or give "
            "a function of the body and the headers"
        )
