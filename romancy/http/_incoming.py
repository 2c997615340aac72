"""Reads CloudEvents from HTTP requests: header fields and a body in, events or a refusal out. Pure.

The content type decides the mode, before any header whose name starts with `ce-`: `application/cloudevents+json` is an
event, `application/cloudevents-batch+json` is a list of events, and any other type is the data of an event whose
attributes are in the headers. The official SDK reads the headers and validates the attributes. It fills in missing
attributes and accepts times that are not RFC 3339; here both are refused before.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
from cloudevents.core.bindings.http import HTTPMessage, from_binary
from cloudevents.core.exceptions import BaseCloudEventException, CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from msgspec import Raw

from romancy.http._attributes import check_attributes, check_encoding, plain_attributes
from romancy.http._json import checked, members, objects
from romancy.http._media import MediaType
from romancy.http._refusal import Refused, not_an_event

if TYPE_CHECKING:
    from cloudevents.core.base import BaseCloudEvent

    from romancy.http._attributes import Attribute
    from romancy.http._fields import Fields

__all__ = ["BATCH", "STRUCTURED", "Incoming", "events_of"]

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
_FORMAT: Final = JSONFormat()
_NULL: Final = Raw(b"null")
_PREFIX: Final = "ce-"
_OF_THE_DATA: Final = ("datacontenttype", "dataschema")
_KNOWN: Final = {"specversion", "id", "source", "type", "subject", "time", "romancyinstanceid", *_OF_THE_DATA}
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A valid CloudEvent. `data` is JSON; data of other types is text or, in base64, bytes."""

    id: str
    source: str
    type: str
    subject: str | None
    time: datetime | None
    instance_id: str | None
    """The instance that the event is for: the attribute `romancyinstanceid`."""
    headers: dict[str, str]
    """`datacontenttype` and `dataschema`, if the event has them."""
    extensions: dict[str, str | int | bool]
    """The extension attributes with the types of their JSON. In headers, the binary mode, all are text."""
    data: Raw


def events_of(fields: Fields, body: bytes, *, most: int) -> tuple[list[Incoming], bool]:
    """The events of a request, and whether they came as a batch. Raises Refused if one of them is not valid.

    A batch of more than `most` events is refused.
    """
    given = fields.one("content-type")
    media = MediaType.parse(given) if given else None
    if media is not None and media.name.startswith("application/cloudevents"):
        if media.name not in {STRUCTURED, BATCH} or media.encoding not in {"utf-8", "ascii"}:
            raise _unsupported(f"events are accepted as {STRUCTURED} or {BATCH}, in UTF-8")
        if media.name == BATCH:
            return _batch(body, most), True
        checked(body, "the event")
        return [_structured(body, "the event")], False
    if any(name.startswith(_PREFIX) for name in fields):
        return [_binary(fields, media, body)], False
    raise _unsupported(
        f"send an event as {STRUCTURED} or {BATCH}, or with the headers ce-specversion, ce-id, ce-source and ce-type"
    )


def _batch(body: bytes, most: int) -> list[Incoming]:
    checked(body, "the batch")
    raws = objects(body, "the batch")
    if len(raws) > most:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the batch holds {len(raws)} events, at most {most} are allowed; send it in parts",
            "PayloadTooLarge",
        )
    return [_structured(raw, f"event {number} of the batch") for number, raw in enumerate(raws)]


def _structured(raw: bytes | Raw, what: str) -> Incoming:
    stored = members(raw, what)
    data, data_base64 = stored.pop("data", None), stored.pop("data_base64", None)
    attributes = plain_attributes(stored, what)
    check_attributes(attributes, what)
    media = _media_of(attributes.get("datacontenttype"))
    event = _event({**attributes}, what)
    if data_base64 is None or bytes(data_base64) == b"null":
        return _incoming(event, _NULL if data is None else data)
    if data is not None:
        raise not_an_event(f"{what}: it holds both data and data_base64; send one of them")
    return _incoming(event, _read(_decoded(data_base64, what), media, what, implied_json=False))


def _binary(fields: Fields, media: MediaType | None, body: bytes) -> Incoming:
    what = "the event"
    headers = fields.starting(_PREFIX)
    for name, value in headers.items():
        check_encoding(name, value)
    if media is not None and body and media.name in _FORMS:
        raise _unsupported(
            "the data of an event is not taken from a form; send its content type, such as application/json "
            "(curl sends a form unless it is told: -H 'content-type: application/json')"
        )
    try:
        read = from_binary(HTTPMessage(headers, b""), _FORMAT, lambda found, _: _event(_texts(found), what))
    except (ValueError, OverflowError):
        raise not_an_event(f"{what}: ce-time is not a time of RFC 3339") from None
    content_type = fields.one("content-type")
    if content_type:
        check_attributes({"datacontenttype": content_type}, what)
        read.get_attributes()["datacontenttype"] = content_type
    return _incoming(read, _read(body, media, what) if body else _NULL)


def _texts(found: dict[str, object]) -> dict[str, object]:
    """The attributes that the SDK has read from headers, checked. The SDK has turned the time into a datetime."""
    check_attributes({name: value for name, value in found.items() if isinstance(value, str)}, "the event")
    return found


def _event(attributes: dict[str, object], what: str) -> CloudEvent:
    missing = [name for name in ("specversion", "id", "source", "type") if name not in attributes]
    if missing:
        raise not_an_event(f"{what}: it has no {', '.join(missing)}", "ValidationError")
    timed = "time" in attributes
    time = attributes.get("time")
    if isinstance(time, str):
        attributes["time"] = time = _time(time, what)
    if isinstance(time, datetime):
        _check_years(time, what)
    try:
        event = CloudEvent(attributes)
    except CloudEventValidationError as error:
        raise not_an_event(f"{what}: {_reasons(error)}") from None
    except BaseCloudEventException as error:
        raise not_an_event(f"{what}: {error}") from None
    if not timed:
        del event.get_attributes()["time"]  # the SDK has filled in the present time
    return event


def _reasons(error: CloudEventValidationError) -> str:
    return "; ".join(dict.fromkeys(str(reason) for reasons in error.errors.values() for reason in reasons))


def _time(text: str, what: str) -> datetime:
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise not_an_event(f"{what}: time is not a time of RFC 3339") from None


def _check_years(time: datetime, what: str) -> None:
    """Refuse a time that is in no year from 1 to 9999 of UTC. Nobody could read it."""
    try:
        time.astimezone(UTC)
    except OverflowError:
        raise not_an_event(f"{what}: time is outside of the years 1 to 9999 in UTC") from None


def _incoming(event: BaseCloudEvent, data: Raw) -> Incoming:
    attributes = event.get_attributes()
    return Incoming(
        id=event.get_id(),
        source=event.get_source(),
        type=event.get_type(),
        subject=event.get_subject(),
        time=event.get_time(),
        instance_id=event.get_extension("romancyinstanceid"),
        headers={name: attributes[name] for name in _OF_THE_DATA if name in attributes},
        extensions={name: value for name, value in attributes.items() if name not in _KNOWN},
        data=data,
    )


def _media_of(given: Attribute | None) -> MediaType | None:
    return MediaType.parse(str(given)) if given else None


def _decoded(raw: Raw, what: str) -> bytes:
    try:
        return base64.b64decode(msgspec.json.decode(raw, type=str), validate=True)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise not_an_event(f"{what}: data_base64 is not text in base64", "ParseError") from None


def _read(body: bytes, media: MediaType | None, what: str, *, implied_json: bool = True) -> Raw:
    """The data as JSON. Without a content type it is JSON in a request, and bytes in `data_base64`."""
    if media.is_json if media is not None else implied_json:
        if media is not None and media.encoding not in {"utf-8", "ascii"}:
            raise _unsupported("JSON is accepted in UTF-8")
        checked(body, f"data of {what}")
        return Raw(body)
    if media is None or not media.is_text:
        return Raw(msgspec.json.encode(body))
    if media.encoding is None:
        raise _unsupported(f"text is accepted in UTF-8 or ISO-8859-1, not in {media.charset}")
    try:
        return Raw(msgspec.json.encode(body.decode(media.encoding)))
    except UnicodeDecodeError:
        raise not_an_event(f"data of {what}: it is not text in {media.encoding}", "ParseError") from None


def _unsupported(error: str) -> Refused:
    return Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, error, "UnsupportedMediaType")
