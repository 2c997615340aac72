"""The limits of a declaration, and the keys of calls under them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import msgspec

from romancy.errors import QueryError, RegistrationError, UsageError
from romancy.limit import Limit, text_of_key, turn_of
from romancy.storage.query import parse_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from msgspec import Raw

    from romancy.limit import Wanted

__all__ = ["check_queues", "key_of", "limit_of_name", "limits_of", "place_of_call", "units_of_section"]


def key_of(limit: Limit, raw: Raw | bytes, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> str:
    """The key of a call with these arguments. `raw` is their stored form. Raises UsageError if there is none."""
    if limit.key is None:
        return ""
    if callable(limit.key):
        return text_of_key(limit.key(*args, **(kwargs or {})), limit.name)
    return text_of_key(_at(msgspec.json.decode(raw), parse_path(limit.key)), limit.name, limit.key)


def place_of_call(
    limit: Limit, raw: Raw | bytes, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None, *, fits: bool = True
) -> Wanted:
    """The place that a call with these arguments asks for. Raises UsageError, as `key_of` and `Limit.place`."""
    units: object = limit.units
    if callable(units):
        units = units(*args, **(kwargs or {}))
    elif isinstance(units, str):
        units = _at(msgspec.json.decode(raw), parse_path(units))
    return limit.place(key_of(limit, raw, args, kwargs), units, fits=fits)


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
        if callable(one.units) and not callable_keys:
            raise RegistrationError(
                f"{where}: the units of limit {one.name!r} are a function; those of a workflow are a number or a path "
                "of its input, such as units='pages'"
            )
    return tuple(sorted(limits, key=lambda one: turn_of(one.name, executing=one.hold == "executing")))


def limit_of_name(name: str, declared: Iterable[Limit]) -> Limit:
    """The limit of this name, for a section of a body. Raises UsageError if it is not declared, or in two ways."""
    known: dict[str, list[Limit]] = {}
    for one in declared:
        known.setdefault(one.name, []).append(one)
    alike = known.get(name)
    if alike is None:
        near = get_close_matches(name, known, 1)
        meant = f"did you mean {near[0]!r}?" if near else f"they declare {', '.join(sorted(known)) or 'none'}"
        raise UsageError(
            f"ctx.limit({name!r}): no workflow and no activity of this program is declared under this limit; {meant}"
        )
    if len({(one.concurrency, one.rate) for one in alike}) > 1:
        raise UsageError(
            f"ctx.limit({name!r}): the program declares different numbers under this name; give the limit itself"
        )
    first = next((one for one in alike if one.key is not None), alike[0])
    return Limit(name, key=first.key, concurrency=first.concurrency, rate=first.rate)


def check_queues(limit: Limit, where: str) -> None:
    """Raise RegistrationError for a limit that says what becomes of an instance, where there is a part of one."""
    if limit.full != "queue":
        raise RegistrationError(
            f"{where}: limit {limit.name!r} has full={limit.full!r}, which says what becomes of an instance: it is for "
            "limits= of a workflow"
        )
    if limit.hold != "open":
        raise RegistrationError(
            f"{where}: limit {limit.name!r} has hold={limit.hold!r}, which says when an instance has its place: it is "
            "for limits= of a workflow"
        )


def units_of_section(limit: Limit, given: int | None) -> int:
    """As how many places a section of a body counts. Raises UsageError if nobody says it."""
    if given is not None:
        return given
    if isinstance(limit.units, int):
        return limit.units
    raise UsageError(f"limit {limit.name!r} has units: say how many, as in ctx.limit({limit.name!r}, …, units=3)")


def _check_path(limit: Limit, where: str) -> None:
    for option, path in (("key", limit.key), ("units", limit.units)):
        if isinstance(path, str):
            try:
                parse_path(path)
            except QueryError as error:
                raise RegistrationError(f"{where}: {option}= of limit {limit.name!r}: {error}") from None
