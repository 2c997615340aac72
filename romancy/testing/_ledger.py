"""What activities did to the world outside: one line for each effect, written by the activity that had it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, overload

from romancy._microseconds import moment_of
from romancy.attempt_context import activity_context
from romancy.engine.surroundings import here

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Effect", "Ledger", "Observer", "observers"]

_NANOSECONDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect of one attempt at an activity or a compensation."""

    what: str
    details: tuple[Any, ...]
    instance_id: str
    activity_id: str
    """The id of the call in the log."""
    attempt: int
    """1 for the first attempt of the call."""
    idempotency_key: str
    """The same for each attempt at the call."""
    process: str
    """The name of the process that did it."""
    at: datetime
    """When, in UTC. In a simulation this is the true time, whatever the clock of the process says."""

    def __str__(self) -> str:
        told = " ".join(str(each) for each in (self.what, *self.details))
        return f"{told} ({self.activity_id} of {self.instance_id}, attempt {self.attempt}, in {self.process})"


class Observer(Protocol):
    """Somebody who is told of each effect, and who may know the time better than the process does."""

    def now(self) -> datetime:
        """The true time."""
        ...

    def did(self, effect: Effect) -> None:
        """An effect has happened."""
        ...


observers: Final[list[Observer]] = []
"""The observer of this process, if there is one."""


class Ledger(Sequence[Effect]):
    """The effects of activities, in the order in which they happened. Keep it in a variable of the test's module.

    An activity calls `ledger.did("charge", order)` where it has its effect.
    """

    def __init__(self) -> None:
        self._effects: list[Effect] = []

    def did(self, what: str, *details: Any) -> None:
        """Record an effect of the activity that runs. Raises UsageError outside of activities."""
        ctx = activity_context()
        effect = Effect(
            what=what,
            details=details,
            instance_id=ctx.instance_id,
            activity_id=ctx.activity_id,
            attempt=ctx.attempt,
            idempotency_key=ctx.idempotency_key,
            process=here().name(),
            at=observers[-1].now() if observers else moment_of(here().wall() // _NANOSECONDS),
        )
        self._effects.append(effect)
        for observer in observers:
            observer.did(effect)

    def of(self, what: str, *details: Any) -> Ledger:
        """The effects of that name, and with these details if any are given."""
        return self._those(lambda each: each.what == what and each.details[: len(details)] == details)

    def by(self, instance_id: str) -> Ledger:
        """The effects of that instance."""
        return self._those(lambda each: each.instance_id == instance_id)

    def once_each(self) -> None:
        """Fail with an AssertionError if an effect stands twice under one idempotency key.

        An attempt that a death interrupts is made again under the same key, so a receiver that looks at the key has
        one effect, and one that does not look has two.
        """
        by_key: defaultdict[tuple[str, str], list[Effect]] = defaultdict(list)
        for each in self._effects:
            by_key[each.idempotency_key, each.what].append(each)
        for (_, what), same in by_key.items():
            if len(same) > 1:
                lines = "".join(f"\n  {each}" for each in same)
                raise AssertionError(
                    f"{what} was done {len(same)} times under one idempotency key:{lines}\nAn attempt that a death "
                    "interrupts is made again: let the receiver look at the activity's idempotency key"
                )

    def clear(self) -> None:
        """Forget the effects so far. In a simulation, each seed begins with an empty ledger."""
        self._effects.clear()

    def _those(self, are: Callable[[Effect], bool]) -> Ledger:
        return _ledger_of([each for each in self._effects if are(each)])

    @overload
    def __getitem__(self, index: int) -> Effect: ...
    @overload
    def __getitem__(self, index: slice) -> Ledger: ...
    def __getitem__(self, index: int | slice) -> Effect | Ledger:
        return _ledger_of(self._effects[index]) if isinstance(index, slice) else self._effects[index]

    def __len__(self) -> int:
        return len(self._effects)

    def __repr__(self) -> str:
        return f"<ledger: {', '.join(str(each) for each in self._effects) or 'nothing'}>"


def _ledger_of(effects: list[Effect]) -> Ledger:
    found = Ledger()
    found._effects = effects  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of the same file
    return found
