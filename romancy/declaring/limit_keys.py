"""The limits of a declaration, and the keys of calls under them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from romancy.errors import QueryError, RegistrationError
from romancy.limit import Limit, text_of_key
from romancy.storage.query import parse_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

__all__ = ["check_queues", "key_of", "limits_of"]


def key_of(limit: Limit, raw: Raw | bytes, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> str:
    """The key of a call with these arguments. `raw` is their stored form. Raises UsageError if there is none."""
    if limit.key is None:
        return ""
    if callable(limit.key):
        return text_of_key(limit.key(*args, **(kwargs or {})), limit.name)
    return text_of_key(_at(msgspec.json.decode(raw), parse_path(limit.key)), limit.name, limit.key)


def _at(document: object, names: Sequence[str]) -> object:
    """The value at a path. It may begin within the only parameter."""
    found: object = document
    if isinstance(document, dict):
        members = cast("dict[str, object]", document)
        if names[0] not in members and len(members) == 1:
            (found,) = members.values()
    for name in names:
        found = cast("dict[str, object]", found).get(name) if isinstance(found, dict) else None
    return found


def limits_of(given: object, where: str, *, callable_keys: bool) -> tuple[Limit, ...]:
    """The limits of a declaration, in the order in which they are taken. Raises RegistrationError."""
    if isinstance(given, Limit):
        raise RegistrationError(f"{where}: limits= takes a list of limits, as in limits=[Limit(…)]")
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, Limit) for one in cast("list[object]", given)):
        raise RegistrationError(f"{where}: limits= takes a list of limits, not {given!r}")
    limits = cast("Sequence[Limit]", given)
    names = [one.name for one in limits]
    for one in limits:
        if names.count(one.name) > 1:
            raise RegistrationError(f"{where}: limits= has {one.name!r} twice; one demand has one place of a limit")
        _check_path(one, where)
        if callable_keys:
            check_queues(one, where)
        if callable(one.key) and not callable_keys:
            raise RegistrationError(
                f"{where}: the key of limit {one.name!r} is a function; that of a workflow is a path of its input, "
                "such as key='customer.id', which any program can read"
            )
    return tuple(sorted(limits, key=lambda one: one.name))


def check_queues(limit: Limit, where: str) -> None:
    """Raise RegistrationError for a limit that says what becomes of an instance, where there is a part of one."""
    if limit.full != "queue":
        raise RegistrationError(
            f"{where}: limit {limit.name!r} has full={limit.full!r}, which says what becomes of an instance: it is for "
            "limits= of a workflow"
        )


def _check_path(limit: Limit, where: str) -> None:
    if isinstance(limit.key, str):
        try:
            parse_path(limit.key)
        except QueryError as error:
            raise RegistrationError(f"{where}: key= of limit {limit.name!r}: {error}") from None
