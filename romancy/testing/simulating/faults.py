"""The faults of a simulation: how many there may be, and those that follow from a seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

from romancy.errors import UsageError
from romancy.testing.simulating.wire import WEATHER

__all__ = ["ON_WORKERS", "WIRE", "Fault", "Faults", "drawn"]

WIRE: Final = "wire"
"""The fault that calls of the database get lost, hang or are late, each by chance."""
_SOONEST: Final = 0.002
_KINDS: Final = {
    "deaths": "dies",
    "freezes": "stands still",
    "drains": "is told to stop",
    "clocks": "has its clock set wrong",
    "cuts": "all connections are cut",
    "stalls": "the database answers nothing",
    "away": "nobody reaches the database",
}
ON_WORKERS: Final = frozenset({"deaths", "freezes", "drains", "clocks"})
_AIMED: Final = frozenset({"deaths", "freezes"})
_OFTEN: Final = 0.6
_LONGEST: Final = {"freezes": 6.0, "stalls": 3.0, "away": 6.0}
_CALM: Final = (0.0, 0.3, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How much may go wrong in one seed. Each seed draws its own numbers, up to these."""

    deaths: int = 3
    """Workers that are killed. Another process takes the place of each."""
    freezes: int = 1
    """Workers that stand still for a while, perhaps for longer than their lease lasts, and do not know."""
    drains: int = 1
    """Workers that are told to stop, as in a deployment."""
    clocks: int = 1
    """Clocks that are set to another time of day, up to an hour away."""
    cuts: int = 1
    """Times at which all connections to the database break."""
    stalls: int = 1
    """Times in which the database answers nothing."""
    away: int = 1
    """Times in which nobody reaches the database."""
    lost: float = 0.02
    """The share of calls that do not reach the database."""
    unanswered: float = 0.02
    """The share of calls that are carried out, and whose answer is lost."""
    hung: float = 0.002
    """The share of calls that are carried out seconds later, perhaps when their caller has given them up."""
    late: float = 0.02
    """The share of calls that take up to a second longer."""
    client: bool = False
    """Whether all that happens to connections happens to those of the client too, which has to repeat its calls then.
    Otherwise its calls never fail.
    """
    seconds: float = 10.0
    """The time, of the simulation, in which all this happens. After it, nothing goes wrong any more."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "client":
                if not isinstance(value, bool):
                    raise UsageError(f"Faults(client={value!r}): this takes True or False")
                continue
            share = each.name in WEATHER
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or (share and value > 1):
                kind = "a share between 0 and 1" if share else "a number, 0 or more"
                raise UsageError(f"Faults({each.name}={value!r}): this takes {kind}")
            if each.name in _KINDS and not isinstance(value, int):
                raise UsageError(f"Faults({each.name}={value!r}): this takes a whole number")

    @classmethod
    def none(cls) -> Faults:
        """Nothing goes wrong: the order of events alone follows from the seed."""
        return cls(
            deaths=0, freezes=0, drains=0, clocks=0, cuts=0, stalls=0, away=0, lost=0, unanswered=0, hung=0, late=0
        )


class Fault(NamedTuple):
    """One fault of one seed."""

    at: float
    """When, in seconds of the simulation since its beginning."""
    kind: str
    """The name of an attribute of `Faults`, or `WIRE`."""
    place: int
    """The number of the worker; the workers are counted through if there are fewer."""
    seconds: float
    """How long it lasts."""
    strength: float = 1.0
    """Of the wire: the part of the shares that `Faults` names."""
    aimed: bool = False
    """Of deaths and freezes: it waits for a worker whose activity has returned and is not committed yet."""

    def told(self, workers: int) -> str:
        """This fault in words."""
        if self.kind == WIRE:
            return f"all the time: calls of the database get lost, {self.strength:g} times as often as `faults` says"
        if self.aimed:
            what = "dies" if self.kind == "deaths" else f"stands still for {self.seconds:.2f} s"
            return f"from {self.at:.3f} s on: the first worker whose activity returns {what} before the commit"
        lasts = f" for {self.seconds:.2f} s" if self.kind in _LONGEST else ""
        who = f"the worker at place {self.place % workers + 1} " if self.kind in ON_WORKERS else ""
        return f"at {self.at:.3f} s: {who}{_KINDS[self.kind]}{lasts}"


def drawn(seed: int, faults: Faults) -> list[Fault]:
    """The faults of this seed. The first hundredth of a second is as likely to be hit as the last five seconds."""
    chance = random.Random(f"faults {seed}")  # noqa: S311 - a simulation
    found: list[Fault] = []
    strength = chance.choice(_CALM)
    if strength and any(getattr(faults, name) for name in WEATHER):
        found.append(Fault(0.0, WIRE, 0, faults.seconds, strength))
    for kind in _KINDS:
        for _ in range(chance.randint(0, getattr(faults, kind))):
            at = math.exp(chance.uniform(math.log(_SOONEST), math.log(max(faults.seconds, 2 * _SOONEST))))
            lasts = chance.uniform(0.1, _LONGEST.get(kind, 1.0))
            aimed = kind in _AIMED and chance.random() < _OFTEN
            found.append(Fault(at, kind, chance.randrange(1000), lasts, aimed=aimed))
    return sorted(found)
