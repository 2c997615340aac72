"""Refuses values that are too large, by the size of what the codecs at hand store for them.

A call of an app knows the app's codecs. A run is made with those of its worker, in whose context activities run.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, TypeVar

from msgspec import Raw

from romancy._logs import working
from romancy.core import current_commands
from romancy.errors import RegistrationError, SerializationError
from romancy.serialization import dumps
from romancy.storage.limits import MEASURED_BYTES, check_event

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_large", "fitting", "fitting_together", "written", "written_by_class"]

Payload = TypeVar("Payload", bytes, Raw)


def fitting(raw: Payload, what: str, stored: Callable[[bytes], int] | None = None) -> Payload:
    """The value. Raises PayloadTooLargeError if its stored form is too large for one event."""
    if len(raw) > MEASURED_BYTES:
        check_large(raw, what, stored)
    return raw


def fitting_together(raw: bytes, beside: bytes, what: str, stored: Callable[[bytes], int] | None = None) -> None:
    """Raise PayloadTooLargeError if the stored form of a value and what goes beside it is too large for one event."""
    if len(raw) + len(beside) > MEASURED_BYTES:
        check_large(raw + beside, what, stored, known_by=raw)


def written(value: object, what: str) -> Raw:
    """The value as JSON. Raises SerializationError, and PayloadTooLargeError as `fitting` does."""
    return Raw(fitting(dumps(value, what), what))


def written_by_class(value: object, what: str) -> Raw:
    """The value as JSON: a dataclass as a result that declares it is stored, anything else as `written` does."""
    if not is_dataclass(value):
        return written(value, what)
    try:
        raw = dumps(value, what, type(value))
    except (SerializationError, RegistrationError):  # its fields hold other types than it declares
        return written(value, what)
    return Raw(fitting(raw, what))


def check_large(
    raw: bytes, what: str, stored: Callable[[bytes], int] | None = None, *, known_by: bytes | None = None
) -> None:
    """Raise PayloadTooLargeError if the stored form is too large for one event.

    A value that the log of a replayed run holds was not: the codecs may have been others then. `known_by` is the part
    of the value by which the log is searched.
    """
    commands = current_commands()
    if commands is None:
        of_worker: Callable[[bytes], int] = getattr(working.get(), "stored", len)
        check_event(bytes(raw), what, of_worker if stored is None else stored)
    elif not commands.holds(raw if known_by is None else known_by):
        check_event(bytes(raw), what, commands.stored)
