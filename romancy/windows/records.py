"""What a window is, what it has received, and what it can be told."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, cast, get_args

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from romancy.channel import Channel
from romancy.core import NULL

__all__ = [
    "RELAY",
    "TOLD",
    "WINDOW",
    "Ask",
    "Drop",
    "Flush",
    "Kind",
    "Of",
    "Open",
    "State",
    "Terms",
    "Told",
    "WindowStart",
    "length",
]

WINDOW: Final = "romancy.window"
"""The workflow whose instances are the windows."""
RELAY: Final = "romancy.window.call"
"""The workflow of a call that was made in a caller's transaction."""
_MOST_BYTES: Final = 750_000
"""A batch closes when its items have this size together: with the last item, its input must fit into an event."""
_MOST_STARTS: Final = 10
"""How many of its last starts a window tells."""

Kind: TypeAlias = Literal["debounce", "batch"]


class Of(Struct, frozen=True, kw_only=True):
    """Whose calls a window receives: those of one kind for one workflow and one key."""

    kind: Kind
    workflow: str
    key: str

    @property
    def name(self) -> str:
        """The workflow and the key as one text, which no other workflow with another key has."""
        return f"{self.workflow.replace('%', '%25').replace(':', '%3A')}:{self.key}"

    @property
    def instance_id(self) -> str:
        """The id of the instance that is the window."""
        return f"{self.kind}:{self.name}"

    @classmethod
    def of_id(cls, instance_id: str) -> Of | None:
        """The window with this instance id. None: no window has it."""
        kind, _, name = instance_id.partition(":")
        workflow, colon, key = name.partition(":")
        if kind not in get_args(Kind) or not colon:
            return None
        of = cls(kind=cast("Kind", kind), workflow=workflow.replace("%3A", ":").replace("%25", "%"), key=key)
        return of if of.instance_id == instance_id else None

    def start_id(self, since: datetime, mark: str) -> str:
        """The id of what it starts for the calls since a moment."""
        return f"{self.name}@{since.isoformat().replace('+00:00', 'Z')}.{mark}"


class Terms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a window closes. Times are in microseconds; 0: this does not close it."""

    quiet: int = 0
    """How long after the last call."""
    most: int = 0
    """How long after the first call."""
    size: int = 0
    """After so many calls."""


class Ask(Struct, frozen=True, kw_only=True, tag="ask", omit_defaults=True):
    """A call. What it says of the start holds for the start, if no later call comes."""

    id: str
    input: Raw
    """The input of the start. Of a batch, one item."""
    terms: Terms
    parameter: str = ""
    """The parameter that gets the items of a batch."""
    headers: dict[str, str] = {}
    limit: int = 0
    """The `timeout` of the start in microseconds; 0: none."""
    priority: int = 0
    fair_key: str = ""
    weight: int = 1


class Flush(Struct, frozen=True, tag="flush"):
    """The window closes now."""


class Drop(Struct, frozen=True, tag="drop"):
    """The window forgets its calls, and starts nothing."""


Told: TypeAlias = Ask | Flush | Drop
TOLD: Final[Channel[Told]] = Channel(WINDOW, Told)


class Open(Struct, kw_only=True):
    """The calls of an open window. Its keeper adds to it."""

    since: datetime
    """When the first of them came."""
    latest: datetime
    """When the last of them came."""
    calls: int
    last: Ask
    """The last one. Of a batch, without its item."""
    items: list[Raw] = []
    """The items of a batch."""
    length: int = 0
    """How long they are together."""

    def add(self, ask: Ask, at: datetime) -> None:
        self.calls += 1
        self.latest, self.last = at, ask
        if ask.parameter:
            self.items.append(ask.input)
            self.length += len(ask.input)
            self.last = replace(ask, input=NULL)

    @property
    def is_full(self) -> bool:
        """Whether the window closes behind its last call."""
        return self.length >= _MOST_BYTES or 0 < self.last.terms.size <= self.calls

    @property
    def due(self) -> datetime:
        """When the window closes, if no further call comes."""
        terms = self.last.terms
        ends = [self.latest + length(terms.quiet)] if terms.quiet else []
        if terms.most:
            ends.append(self.since + length(terms.most))
        return min(ends)

    @property
    def input(self) -> Raw:
        """The input of the start."""
        if not self.last.parameter:
            return self.last.input
        return Raw(b"{%b:[%b]}" % (msgspec.json.encode(self.last.parameter), b",".join(self.items)))


class WindowStart(Struct, frozen=True, kw_only=True):
    """An instance that a window has started."""

    instance_id: str
    calls: int
    """How many calls have come to it."""
    at: datetime


class State(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the instance of a window reports when it opens and when it closes."""

    of: Of
    lingers: int = 0
    """How many microseconds the instance goes on after its last call."""
    since: datetime | None = None
    """When the first call came. None: no window is open."""
    due: datetime | None = None
    """When it closes if no further call comes."""
    started: int = 0
    starts: tuple[WindowStart, ...] = ()
    """The last ones."""

    def began(self, start: WindowStart) -> State:
        return replace(self, started=self.started + 1, starts=(*self.starts, start)[-_MOST_STARTS:])


def length(microseconds: int) -> timedelta:
    return timedelta(microseconds=microseconds)
