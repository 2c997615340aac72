"""Limits: how many instances, activities or sections run at once or begin in a period, over all workers.

A limit is declared in code and travels with each demand for a place, so whoever dispatches a lane needs no code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, NamedTuple, TypeAlias, cast, get_args

import msgspec

from romancy.errors import RegistrationError, UsageError
from romancy.retry import Duration, seconds

__all__ = ["Full", "Hold", "Limit", "Turn", "Wanted", "text_of_key", "turn_of"]

Full: TypeAlias = Literal["queue", "skip", "replace_queued", "cancel_running"]
"""What becomes of an instance that finds no place."""
Hold: TypeAlias = Literal["open", "executing"]
"""When an instance has its place."""


_LONGEST_NAME: Final = 100
_MOST_BEGINS: Final = 1000
"""Upper bound on the places that a rate gives in one period: a lane notes so many times."""
_LONGEST_PERIOD: Final = timedelta(days=31).total_seconds()


Turn: TypeAlias = tuple[bool, str]
"""When the places of a whole workflow are asked for, by which they are sorted."""


def turn_of(limit: str, *, executing: bool) -> Turn:
    """Those that the workflow has only while it executes come last: it asks for them anew while it has the others."""
    return executing, limit


class Wanted(NamedTuple):
    """A place that is asked for: of which limit and key, and what the limit allows (0: any number)."""

    limit: str
    key: str
    concurrency: int
    rate: int
    period: int
    """Microseconds."""
    full: str = ""
    """What becomes of the run without a free place: as in `Limit`. Empty: it waits in line."""
    expires: int = 0
    """Microseconds that it waits in line. 0: as long as it takes."""
    units: int = 1
    """As how many places it counts."""
    executing: bool = False
    """Whether the run has it only while it executes."""


@dataclass(frozen=True, slots=True, init=False)
class Limit:
    """At most so many at once (`concurrency`), or so many begins in any period of that length (`rate`), or both.

    `rate=(10, 60)`: ten in a minute; the period is a number of seconds or a timedelta. `key` makes a limit of its own
    for each value: a path of the input, such as `"customer.id"`, or a function of the arguments of an activity. Without
    a key there is one limit for all. The same name is the same limit wherever it is used, over all workers.

    Those that find no place wait in line, in the order in which they have asked. A place belongs to its instance until
    that ends, gives it back, or is terminated: if the worker dies, the instance has it still.

    `full` is for workflows, and says what becomes of an instance without a free place. `"queue"`: it waits in line.
    `"skip"`: it is cancelled at once, and `start` raises StartSkippedError. `"replace_queued"`: it waits, and the one
    that waited at the same key, if it says so too, is cancelled. `"cancel_running"`: the same, and of those that have
    places and say so too, the first is cancelled; the newest gets the place when that one has ended.

    `hold` is for workflows too. `"open"`: an instance has its place until it ends. `"executing"`: it gives the place
    back while it only waits for timers, messages and children, and stands in line again before it goes on.

    `units` is for what weighs more: as how many places it counts, at once and in a period. It is a number, a path of
    the input, or a function of the arguments of an activity. More than the whole limit is refused.

    Who has waited in line for `expires`, a number of seconds or a timedelta, waits no longer: PlaceExpiredError is
    raised where the place was asked for, and for a whole workflow it is how the instance fails.
    """

    name: str
    key: str | Callable[..., object] | None
    concurrency: int | None
    rate: tuple[int, Duration] | None
    full: Full
    expires: Duration | None
    units: int | str | Callable[..., int]
    hold: Hold

    def __init__(
        self,
        name: str,
        *,
        key: str | Callable[..., object] | None = None,
        concurrency: int | None = None,
        rate: tuple[int, Duration] | None = None,
        full: Full = "queue",
        expires: Duration | None = None,
        units: int | str | Callable[..., int] = 1,
        hold: Hold = "open",
    ) -> None:
        """Raises RegistrationError for a limit that makes no sense."""
        what = _checked_name(name)
        if concurrency is None and rate is None:
            raise RegistrationError(f"{what}: give concurrency=, rate= or both; without them it limits nothing")
        if concurrency is not None:
            _check_count(concurrency, f"{what}: concurrency=")
        object.__setattr__(self, "_period", 0 if rate is None else _period(rate, what))
        object.__setattr__(self, "_expires", 0 if expires is None else _length(expires, f"{what}: expires="))
        if key is not None and not callable(key) and not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RegistrationError(f"{what}: key= is a path of the input, such as 'customer.id', not {key!r}")
        _check_words(what, full, hold)
        if full == "cancel_running" and concurrency is None:
            raise RegistrationError(f"{what}: full='cancel_running' cancels who has a place; give concurrency= as well")
        for field, value in (
            ("name", name), ("key", key), ("concurrency", concurrency), ("rate", rate), ("full", full),
            ("expires", expires), ("units", units), ("hold", hold),
        ):  # fmt: skip
            object.__setattr__(self, field, value)
        if not callable(units) and not isinstance(units, str):
            _check_count(units, f"{what}: units=")
            if fault := self._too_much(units):
                raise RegistrationError(f"{what}: {fault}")

    _period: int
    _expires: int

    def place(self, key: str, units: object = 1, *, fits: bool = True) -> Wanted:
        """A place, of those with this key, that counts as so many. Raises UsageError for what is no number of places.

        `fits`: also for more than the whole limit. Who has begun under a higher limit is let in alone.
        """
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise UsageError(f"limit {self.name!r}: its units are a whole number of at least 1, not {units!r}")
        if fits and units > 1 and (fault := self._too_much(units)):
            raise UsageError(f"limit {self.name!r}: {fault}")
        rate = 0 if self.rate is None else self.rate[0]
        full = "" if self.full == "queue" else self.full
        executing = self.hold == "executing"
        return Wanted(self.name, key, self.concurrency or 0, rate, self._period, full, self._expires, units, executing)

    def _too_much(self, units: int) -> str:
        """Why nobody could ever get so many units. Empty: somebody could."""
        if self.concurrency is not None and units > self.concurrency:
            return f"{units} units are more than the whole limit, concurrency={self.concurrency}"
        if self.rate is not None and units > self.rate[0]:
            return f"{units} units are more than the whole limit, rate={self.rate!r}"
        return ""


def text_of_key(value: object, limit: str, path: str = "") -> str:
    """The key as text. Raises UsageError for what identifies nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int)):
        return msgspec.json.encode(value).decode()
    where = f" at {path!r}" if path else ""
    raise UsageError(
        f"limit {limit!r}: its key{where} is {type(value).__name__ if value is not None else 'missing or null'}; "
        "a key is a text, a number without fraction or a truth value"
    )


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise RegistrationError(f"Limit(…): the name of a limit is a text, not {name!r}")
    if len(name.encode()) > _LONGEST_NAME or "~" in name or not name.isprintable():
        raise RegistrationError(
            f"Limit({name[:40]!r}): a name has at most {_LONGEST_NAME} bytes of printable characters, without '~'"
        )
    return f"Limit({name!r})"


def _check_words(what: str, full: object, hold: object) -> None:
    for option, given, known in (("full", full, get_args(Full)), ("hold", hold, get_args(Hold))):
        if given not in known:
            raise RegistrationError(f"{what}: {option}= is one of {', '.join(map(repr, known))}, not {given!r}")
    if full == "cancel_running" and hold == "executing":
        raise RegistrationError(
            f"{what}: full='cancel_running' cancels who has a place; with hold='executing' one that waits has none"
        )


def _check_count(count: object, what: str) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise RegistrationError(f"{what} is a whole number of at least 1, not {count!r}")


def _period(rate: object, what: str) -> int:
    """The period of a rate in microseconds."""
    if not isinstance(rate, tuple) or len(cast("tuple[object, ...]", rate)) != 2:  # noqa: PLR2004 - a number and a period
        raise RegistrationError(f"{what}: rate= is a number and a period, as in rate=(10, 60) for ten a minute")
    count, period = cast("tuple[int, Duration]", rate)
    _check_count(count, f"{what}: the number of rate=")
    if count > _MOST_BEGINS:
        raise RegistrationError(
            f"{what}: rate= allows {count:,} in a period, at most {_MOST_BEGINS:,} can be counted; "
            "divide the number and the period by the same"
        )
    return _length(period, f"{what}: the period of rate=")


def _length(given: Duration, what: str) -> int:
    """A length of time in microseconds."""
    try:
        length = seconds(given, what)
    except UsageError as error:
        raise RegistrationError(str(error)) from None
    if not 0.001 <= length <= _LONGEST_PERIOD:  # noqa: PLR2004 - a millisecond
        raise RegistrationError(f"{what} is between a millisecond and 31 days, not {length:g} s")
    return round(length * 1_000_000)
