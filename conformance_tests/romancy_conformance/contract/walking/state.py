"""The tables of the model, and what several of its parts ask them. Nothing here runs at the same time as anything else.

A store keeps the same facts under other names. `comparing` reads them there and here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import InstanceRow, LogRow, Worker
from romancy.storage.routing import OUTSIDE, Interest, Letter, Owner, Spread

if TYPE_CHECKING:
    from romancy.storage.outbox import OutboxEntry

__all__ = ["Beating", "Instance", "Mail", "Place", "State", "Taken"]

Turns = dict[int, tuple[str, int]]
"""Where the turns of a worker stand, by priority."""
Place = tuple[str, str]
"""An address and the id of a message there."""


@dataclass(kw_only=True)
class Instance:
    """An instance's row: what `InstanceRow` shows, and what only claims and searches read."""

    instance_id: str
    life: int
    workflow_name: str
    status: Status
    code: str
    created_at: int
    updated_at: int
    input: bytes
    owner: str | None
    wake_at: int | None
    error: str | None
    parent: str | None
    index: tuple[tuple[str, str | None], ...] = ()
    run_from: int = 1
    last_seq: int = 1
    signals: int = 0
    seen: int = 0
    priority: int = 0
    fair_line: str = ""
    refused: frozenset[str] = frozenset()
    crashes: int = 0
    crash_seq: int = 0
    log: dict[int, LogRow] = field(default_factory=dict[int, LogRow])
    """The log of this life, by seq."""

    @classmethod
    def empty(cls, instance_id: str) -> Instance:
        """An instance that is about to begin."""
        return cls(
            instance_id=instance_id, life=0, workflow_name="", status=Status.PENDING, code="", created_at=0,
            updated_at=0, input=b"", owner=None, wake_at=None, error=None, parent=None,
        )  # fmt: skip

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL_STATUSES

    @property
    def rests(self) -> bool:
        """Whether nothing but a change of its row can make it due: it has ended, or is stuck."""
        return self.ended or self.status is Status.STUCK

    @property
    def deaf(self) -> bool:
        """Whether what is delivered does not make it due."""
        return self.rests or self.status is Status.PAUSED

    @property
    def head(self) -> int:
        return max(self.last_seq, *self.log)

    @property
    def row(self) -> InstanceRow:
        return InstanceRow(**{name: getattr(self, name) for name in InstanceRow.__struct_fields__})


@dataclass(frozen=True)
class Taken:
    """A message that was posted to an address, with all that is needed to keep it there again."""

    message_id: str
    address: str
    spread: Spread
    body: bytes
    at: int
    projection: bytes | None


@dataclass(frozen=True)
class Mail:
    """A message in an inbox. The counter of its instance was `low` before it was counted, and `high` after."""

    delivery_id: str
    body: bytes
    at: int
    low: int
    high: int
    address: str | None = None
    interest: str | None = None
    taken: Taken | None = None

    @property
    def posted_at(self) -> int | None:
        """When it was posted, if that is not its time in the inbox."""
        return None if self.taken is None or self.taken.at == self.at else self.taken.at


@dataclass
class Beating:
    """A worker's row."""

    worker: Worker
    started_at: int
    beat_at: int
    beat: int = 1
    dead: bool = False
    pruned: bool = False
    """Whether its row may be gone, because it was dead and owned nothing."""
    known: bool = True
    """Whether the store that is open now has written its heartbeat."""

    @property
    def forgotten(self) -> bool:
        """Whether nothing may be left that knows of its death. Only its own store ever uses its token."""
        return self.pruned and not self.known


class State:
    """All tables, and the time of the database."""

    def __init__(self, *, sessions_exclude: bool = False) -> None:
        self.sessions_exclude = sessions_exclude
        """`Capabilities.sessions_exclude` of the store."""
        self.now = 0
        self.given: Any = None
        """The store's answer to the present call. Where the contract leaves a choice, the model makes the same."""
        self.workers: dict[str, Beating] = {}
        self.turns: dict[str, Turns] = {}
        """Where the turns of each worker stand, as its last claim that had any has said."""
        self.instances: dict[str, Instance] = {}
        self.inbox: dict[str, dict[str, Mail]] = {}
        self.seen: dict[tuple[str, int, str], int] = {}
        """When a dedupe key was first given to this life of an instance, or to the address with the life 0."""
        self.messages: dict[Place, Taken] = {}
        self.interests: dict[tuple[Owner, str], tuple[Interest, int]] = {}
        self.numbers: dict[str, int] = {}
        self.numbered_until = 0
        """Lower numbers may be gone. Whether they are makes no difference: a new number is not before the present."""
        self.letters: dict[tuple[str, str], tuple[Letter, Taken | None]] = {}
        self.outgoing: dict[str, OutboxEntry] = {}

    def alive(self, token: str | None) -> bool:
        """Whether this worker may write."""
        return token in self.workers and not self.workers[token].dead

    def receives(self, owner: Owner) -> bool:
        """Whether a message can still be given to this owner."""
        found = self.instances.get(owner.name)
        return owner.life == OUTSIDE or (found is not None and found.life == owner.life and not found.ended)
