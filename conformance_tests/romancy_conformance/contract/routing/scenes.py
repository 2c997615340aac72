"""What tests of routing send to a store: messages for addresses, and instances that are interested in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.storage.query import encode_where, project
from romancy.storage.records import ClaimRequest, Outcome
from romancy.storage.routing import Dispatched, Interest, InterestKind, Owner, Place, Posting, Spread
from romancy_conformance.contract.building import append, delivery, unique
from romancy_conformance.contract.scripts import fetch_rows

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Change, InboxRow
    from romancy_conformance.contract.building import Actor

__all__ = ["Receiver", "copy", "count_interests", "drained", "member", "message_id", "post", "posting", "take"]


def message_id() -> str:
    """A message id; those of one process sort in the order in which they were made."""
    return delivery("nobody").delivery_id


def posting(address: str, spread: Spread = Spread.ONE, body: bytes = b'{"n":1}', **fields: Any) -> Posting:
    """A message for one address, which interests with a `where` can look into."""
    given: dict[str, Any] = {
        "message_id": message_id(),
        "places": (Place(address, spread),),
        "body": body,
        "projection": project(body),
    }
    return Posting(**(given | fields))


async def post(store: Store, address: str, spread: Spread = Spread.ONE, count: int = 1) -> list[Posting]:
    """Post so many messages, one after the other."""
    messages = [posting(address, spread, b'{"n":%d}' % number) for number in range(count)]
    for one in messages:
        assert await store.services.router.post([one]) == ["accepted"]
    return messages


def _interest(kind: InterestKind, address: str, where: dict[str, Any] | None, interest_id: str | None) -> Interest:
    name = unique("want") if interest_id is None else interest_id
    return Interest(interest_id=name, address=address, kind=kind, where=encode_where(where))


def take(address: str, where: dict[str, Any] | None = None, interest_id: str | None = None) -> Interest:
    """Interest in one message."""
    return _interest(InterestKind.TAKE, address, where, interest_id)


def copy(address: str, where: dict[str, Any] | None = None, interest_id: str | None = None) -> Interest:
    """Interest in copies."""
    return _interest(InterestKind.COPY, address, where, interest_id)


def member(address: str, interest_id: str | None = None) -> Interest:
    """Membership of an address whose messages are taken."""
    return _interest(InterestKind.MEMBER, address, None, interest_id)


async def count_interests(storage_url: str) -> int:
    """Count the interests that are kept, without the row that the first migration writes."""
    sql = "select count(*) from romancy_interests where owner not like 'romancy/%'"
    ((count,),) = await fetch_rows(storage_url, sql)
    return int(count)


async def drained(store: Store, *addresses: str, limit: int = 500) -> int:
    """Dispatch until there is nothing more to do; return how much was delivered."""
    delivered = 0
    for _ in range(100):
        done: Dispatched = await store.services.router.dispatch(addresses, limit=limit)
        delivered += done.delivered
        if not done.more:
            return delivered
    raise AssertionError("the dispatch comes to no end")


class Receiver:
    """An instance of this worker, with its interests and its inbox."""

    def __init__(self, actor: Actor, begun: Append) -> None:
        self.actor = actor
        self.begun = begun
        self.seq = 1

    @property
    def owner(self) -> Owner:
        """The instance as an owner of interests."""
        return Owner(self.begun.instance_id, self.begun.life)

    @property
    def instance_id(self) -> str:
        """The id of the instance."""
        return self.begun.instance_id

    def next(self, **fields: Any) -> Append:
        """The next append to this instance."""
        self.seq += 1
        return append(self.begun, self.seq, **fields)

    async def write(self, **fields: Any) -> None:
        """Append with these effects."""
        assert await self.actor.write(self.next(**fields)) is Outcome.ACCEPTED

    async def want(self, *interests: Interest) -> None:
        """Register interests in an append."""
        await self.write(interests=interests)

    async def change(self, change: Change) -> None:
        """Change the instance's row."""
        await self.write(change=change)

    async def inbox(self) -> list[InboxRow]:
        """What is in the inbox now, whether it was counted or not."""
        known = {self.instance_id: -1}
        request = ClaimRequest(worker=self.actor.token, codes=self.actor.workflows, limit=0, known=known)
        for box in (await self.actor.store.claim(request)).mail:
            if box.instance_id == self.instance_id:
                return box.rows
        return []

    async def bodies(self) -> list[bytes]:
        """The bodies in the inbox."""
        return [row.body for row in await self.inbox()]

    async def signals(self) -> int:
        """The counter of the instance's mail."""
        history = await self.actor.store.read(self.instance_id, limit=0)
        assert history is not None
        return history.instance.signals
