"""Builders of the records that contract tests send to a store, so that a test states only the relevant fields.

Every name is unique, so the suite can also run on one shared database.
"""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Append, Change, ClaimRequest, Create, Delivery, Outcome, Step, Worker, as_end
from romancy.storage.services import Service
from romancy.storage.steps import behind
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from romancy.storage.lookups import Lookups
    from romancy.storage.protocol import Store
    from romancy.storage.records import Claimed, Item, LogRow, Peer
    from romancy.storage.sessions import StoreSession

__all__ = [
    "LEASE",
    "Actor",
    "append",
    "change",
    "created",
    "delivery",
    "full_log",
    "joinable",
    "lookups_of",
    "next_row",
    "nonce",
    "settle",
    "start",
    "step",
    "unique",
]

LEASE = 30_000_000
_numbers = itertools.count(1)


def unique(label: str = "x") -> str:
    """A name that no other test, process or run uses."""
    return f"{label}-{secrets.token_hex(6)}-{next(_numbers)}"


def nonce() -> str:
    """A writer's mark for one append."""
    return unique("w")


def start(instance_id: str | None = None, **fields: Any) -> Append:
    """The first append of a new instance with sensible fields, of the append or of what it creates.

    With a `status` or an `error`, its code was run: then an instance without an owner is released.
    """
    given: dict[str, Any] = {"workflow_name": "flow", "code": "c1", "input": b"null"} | fields
    create = Create(**{name: given.pop(name) for name in Create.__struct_fields__ if name in given})
    changed: dict[str, Any] = {name: given.pop(name) for name in ("status", "error") if name in given}
    if changed:
        status, released = changed.get("status", Status.PENDING), create.owner is None
        over = status in TERMINAL_STATUSES
        wake_at = 0 if create.delay == 0 and released and not over else None
        changed = {"status": status, "seen": 0, "release": released and not over, "wake_at": wake_at} | changed
        given["change"] = Change(**changed)
    ends = "change" in given and given["change"].status in TERMINAL_STATUSES
    made: dict[str, Any] = {
        "instance_id": instance_id if instance_id is not None else unique("i"),
        "life": secrets.randbits(52) + 1,
        "seq": 1,
        "writer": as_end(nonce()) if ends else nonce(),
        "body": b'[{"type":"started"}]',
        "create": create,
    }
    return Append(**(made | given))


def created(item: Append) -> Create:
    """What a first append creates."""
    assert item.create is not None
    return item.create


def step(
    to: Append | Claimed, seq: int, body: bytes = b"[]", *, writer: str | None = None, after: str | None = None
) -> Step:
    """The step at `seq` of that instance."""
    return Step(to.instance_id, to.life, seq, nonce() if writer is None else writer, body, behind(after))


def append(to: Append | Claimed, seq: int, body: bytes = b"[]", **fields: Any) -> Append:
    """The append at `seq` of that instance, with effects as a rule."""
    changed: Change | None = fields.get("change")
    ends = changed is not None and changed.status in TERMINAL_STATUSES
    given: dict[str, Any] = {"writer": as_end(nonce()) if ends else nonce(), "body": body}
    return Append(instance_id=to.instance_id, life=to.life, seq=seq, **(given | fields))


def next_row(to: Append | Claimed, seq: int, body: bytes = b"[]", **fields: Any) -> Step | Append:
    """What the engine writes: a step, or an append if anything goes with it."""
    given = {name: value for name, value in fields.items() if value}
    return step(to, seq, body, **given) if given.keys() <= {"writer", "after"} else append(to, seq, body, **given)


def change(status: Status = Status.RUNNING, *, seen: int = 0, **fields: Any) -> Change:
    """A change of the instance's row."""
    return Change(status=status, seen=seen, **fields)


def delivery(to: Append | Claimed | str, body: bytes = b'{"hello":1}', **fields: Any) -> Delivery:
    """A message for that instance."""
    target = to if isinstance(to, str) else to.instance_id
    given: dict[str, Any] = {
        "instance_id": target,
        "delivery_id": f"{next(_numbers):012d}-{secrets.token_hex(4)}",
        "body": body,
    }
    return Delivery(**(given | fields))


_NEVER_SILENT = 40


async def settle(store: Store, quiet: float = 0.05) -> bool:
    """Wait until the store reports no change for so many seconds: what happened before is no news any more.

    False: it never falls silent, as a store that wakes its callers at intervals.
    """
    everywhere = 0
    while everywhere < _NEVER_SILENT:
        changed = await store.wait_for_work(quiet)
        if changed is not None and not changed:
            return True
        everywhere = everywhere + 1 if changed is None else 0
    return False


async def silent(store: Store) -> None:
    """Wait as `settle` does. Skip the test if the store wakes its callers at intervals, which it may."""
    if not await settle(store):
        pytest.skip("capability: the store wakes its callers at intervals")


async def full_log(store: Store, instance_id: str) -> list[LogRow]:
    """The whole log of an instance's current life, page by page."""
    rows: list[LogRow] = []
    while True:
        page = await store.read(instance_id, after=rows[-1].seq if rows else 0)
        assert page is not None, f"instance {instance_id} is not there"
        rows += page.rows
        if not page.more:
            return rows


class Actor:
    """A registered worker at a store, with the calls that tests make in its name."""

    def __init__(self, store: Store, *, workflows: dict[str, str], lease: int = LEASE) -> None:
        self.store = store
        self.workflows = workflows
        self.worker = Worker(token=unique("t"), worker_id=unique("worker"), lease=lease)

    @property
    def token(self) -> str:
        """The token of this incarnation."""
        return self.worker.token

    async def register(self) -> Actor:
        """Write the worker's row."""
        assert (await self.store.heartbeat(self.worker)).alive
        return self

    async def claim(self, limit: int = 10, **fields: Any) -> list[Claimed]:
        """Claim due instances of this worker's workflows."""
        request = ClaimRequest(worker=self.token, codes=self.workflows, limit=limit, **fields)
        return (await self.store.claim(request)).claimed

    async def write(self, item: Item) -> Outcome:
        """Commit one item; repeat while another transaction holds its rows."""
        outcome = Outcome.LOCKED
        while outcome is Outcome.LOCKED:
            (outcome,) = await self.store.commit([item], worker=self.token)
        return outcome

    async def begin(self, instance_id: str | None = None, **fields: Any) -> Append:
        """Start a new instance that this worker owns."""
        name = next(iter(self.workflows))
        item = start(instance_id, workflow_name=name, owner=self.token, status=Status.RUNNING, **fields)
        assert await self.write(item) == "accepted"
        return item

    async def see(self, other: Actor) -> Peer:
        """Return the other worker as this worker sees it."""
        pulse = await self.store.heartbeat(self.worker)
        (peer,) = [peer for peer in pulse.peers if peer.token == other.token]
        return peer

    async def take_over(self, other: Actor, *, limit: int = 100) -> tuple[str, ...]:
        """Declare the other worker dead and release everything it owns."""
        peer = await self.see(other)
        moved: tuple[str, ...] = ()
        for _ in range(100):
            answer = await self.store.takeover(self.token, peer, b'[{"type":"owner"}]', nonce(), limit=limit)
            assert not answer.refused, "the takeover was refused"
            moved += answer.moved
            if not answer.left:
                return moved
        raise AssertionError("the takeover does not come to an end")


def joinable(actor: Actor, outer: StoreSession) -> object:
    """Return what a caller would have of this session's transaction."""
    return outer.native if actor.store.capabilities.sql else outer


def lookups_of(store: Store) -> Lookups:
    return services_with(Service.LOOKUPS, store).lookups
