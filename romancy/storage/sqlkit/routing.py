"""The router of an SQL database: its operations, and the object that the engine uses.

The scripts are those of the dialect. How messages are posted, and how a sweep finds what a crash has left, is in the
dialect's own subclass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from romancy.errors import InstanceNotFoundError, InternalError
from romancy.storage.limits import can_be_id, check_interest, check_owner
from romancy.storage.routing import (
    OUTSIDE,
    Dispatched,
    Interest,
    InterestKind,
    KeptMessage,
    Letter,
    Owner,
    Spread,
    is_lane,
)
from romancy.storage.sqlkit.dispatches import move
from romancy.storage.sqlkit.lanes import give_places, noted_until
from romancy.storage.sqlkit.statements import (
    Answer,
    Ask,
    LockedError,
    OvertakenError,
    ask,
    ask_all,
    ask_last,
    look,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from romancy.storage.records import Delivered
    from romancy.storage.routing import Posting
    from romancy.storage.sqlkit.dispatches import Moved, Unseen
    from romancy.storage.sqlkit.statements import Interpreter, Operation, Values

__all__ = ["SqlRouter", "give_back_in_parts", "letters_back_in_parts", "return_in_parts", "take_back"]

_LOOK_AT_ONCE: Final = 5000
_ADDRESSES_AT_ONCE: Final = 500
"""Addresses that one transaction locks. A server has room for some thousand locks."""
_LANES_AT_ONCE: Final = 20
_LOCK_WAITS: Final = 2
Due: TypeAlias = "Sequence[Any]"
"""An address that may have something to route, and the key of its lock, or None where a dialect has none."""
_EXCLUDES: Final = {InterestKind.COPY: InterestKind.MEMBER, InterestKind.MEMBER: InterestKind.COPY}


class SqlRouter(ABC):
    """As `Router` promises."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter

    @abstractmethod
    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]: ...

    @abstractmethod
    async def _sweep(self, limit: int) -> Dispatched:
        """As `dispatch` promises without addresses."""

    async def _count(self, mail: Sequence[Unseen]) -> bool:
        """Count mail whose owners others held, and wake them. Whether some of it is back at its address."""
        raise InternalError(f"a dispatch has left {len(mail)} messages uncounted")

    async def dispatch(self, addresses: Collection[str] = (), /, *, limit: int = 500) -> Dispatched:
        if not addresses:
            return await self._sweep(limit)
        due = await self._due_at(addresses)
        return await self._dispatch_due(due, limit) if due else Dispatched(delivered=0)

    async def dispatch_at(self, addresses: Collection[str], limit: int) -> Dispatched:
        """As `dispatch` promises for these addresses, of which there may be none."""
        return await self.dispatch(addresses, limit=limit) if addresses else Dispatched(delivered=0)

    async def _due_at(self, addresses: Collection[str]) -> list[Due]:
        """Those of these addresses that have something to route."""
        chosen, due = sorted(set(addresses)), list[Due]()
        lanes = [one for one in chosen if is_lane(one)]
        others = [one for one in chosen if not is_lane(one)] if lanes else chosen
        for script, some in (("route_due", others), ("lane_due", lanes)):
            for first in range(0, len(some), _LOOK_AT_ONCE):
                look_at = partial(ask, script, addresses=some[first : first + _LOOK_AT_ONCE])
                due += (await self._interpreter.read(look_at)).rows
        return due

    async def _dispatch_due(self, due: Sequence[Due], limit: int) -> Dispatched:
        """Dispatch from these addresses, some at a time. Those that another transaction holds are tried alone."""
        delivered, more, held_up, later = 0, False, dict[str, str](), dict[str, int]()
        parts = _parts(due)
        locked: LockedError | None = None
        while parts and not more:
            if delivered >= limit:
                return Dispatched(delivered=delivered, more=True, held_up=held_up, later=later)
            part = parts.pop(0)
            try:
                moved = await self._interpreter.together(
                    partial(_moves(part), [address for address, _ in part], limit - delivered),
                    weight=limit,
                    lock_waits=_LOCK_WAITS if len(part) == 1 else 0,
                    # If a crash undoes it, the messages are back at their addresses. No append can have consumed them:
                    # its commit is durable, and with it all earlier ones.
                    lasting=False,
                    keys=[key for _, key in part if key is not None],
                )
            except OvertakenError:
                more = True  # others route these messages, and were faster each time
            except LockedError as error:
                if len(part) == 1:
                    locked = error
                else:
                    parts[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
            else:
                back = bool(moved.unseen) and await self._count(moved.unseen)
                delivered, more, held_up = delivered + moved.delivered, moved.more or back, held_up | moved.held_up
                later |= moved.later
        if locked is not None and not more:
            raise locked
        return Dispatched(delivered=delivered, more=more, held_up=held_up, later=later)

    async def register(self, owner: Owner, interest: Interest, /) -> InterestKind | None:
        check_owner(owner)
        check_interest(interest)
        there, in_the_way = await self._interpreter.together(
            partial(_register, owner, interest), lock_waits=_LOCK_WAITS
        )
        if not there:
            raise InstanceNotFoundError(
                f"instance {owner.name!r}: not there in this life, or ended; it can register no interest"
            )
        return in_the_way

    async def unregister(self, owner: Owner, interest_ids: Collection[str], /) -> None:
        rows = [(*owner, one) for one in _known(interest_ids)]
        if rows and can_be_id(owner.name):
            await self._interpreter.in_turn(partial(ask, "drop_interests", interests=rows), weight=len(rows))

    async def interests(self, address: str, /) -> list[tuple[Owner, Interest]]:
        answer = await self._interpreter.read(partial(ask, "interests", address=address))
        return [
            (Owner(name, life), Interest(interest_id=one, address=address, kind=InterestKind(kind), where=where))
            for name, life, one, kind, where in answer.rows
        ]

    async def give_back(self, owner: Owner, delivery_ids: Sequence[str], /, *, at: int | None = None) -> int:
        ids = _known(delivery_ids)
        if not ids or not can_be_id(owner.name):
            return 0
        return await self._interpreter.together(partial(_give_back, owner, ids, at), weight=3 * len(ids))

    async def letters(self, subscriber: str, /, *, limit: int = 100) -> list[Letter]:
        if not can_be_id(subscriber):
            return []
        oldest = partial(ask, "letters", subscriber=subscriber, limit=limit)
        rows = (await self._interpreter.read(oldest)).rows
        return [Letter(letter_id=one, address=address, body=body, at=at) for one, address, body, at in rows]

    async def acknowledge(self, subscriber: str, letter_ids: Collection[str], /) -> int:
        ids = _known(letter_ids)
        if not ids or not can_be_id(subscriber):
            return 0
        drop = partial(ask, "drop_letters", subscriber=subscriber, ids=ids)
        return (await self._interpreter.in_turn(drop, weight=len(ids))).touched

    async def kept(self, *, address: str | None = None, after: str = "", limit: int = 100) -> list[KeptMessage]:
        if address is None:
            page = partial(ask, "kept", after=after, limit=limit)
        else:
            page = partial(ask, "kept_at", address=address, after=after, limit=limit)
        found = [
            KeptMessage(message_id=one, address=place, spread=Spread(spread), body=body, at=at)
            for one, place, spread, body, at in (await self._interpreter.read(page)).rows
        ]
        return sorted(found, key=lambda one: (one.message_id, one.address))

    async def expire(self, before: int, /, *, limit: int = 1000) -> int:
        return await self._interpreter.in_turn(partial(_expire, before, limit), weight=limit)


def _parts(due: Sequence[Due]) -> list[Sequence[Due]]:
    """What one transaction dispatches each: addresses of messages, or lanes."""
    lanes = [one for one in due if is_lane(one[0])]
    others = [one for one in due if not is_lane(one[0])] if lanes else due
    parts = [others[first : first + _ADDRESSES_AT_ONCE] for first in range(0, len(others), _ADDRESSES_AT_ONCE)]
    return parts + [lanes[first : first + _LANES_AT_ONCE] for first in range(0, len(lanes), _LANES_AT_ONCE)]


def _moves(part: Sequence[Due]) -> Callable[[list[str], int], Operation[Moved]]:
    return give_places if is_lane(part[0][0]) else move


def _known(ids: Collection[str]) -> list[str]:
    return sorted(filter(can_be_id, set(ids)))


# ── operations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _register(owner: Owner, interest: Interest) -> Operation[tuple[bool, InterestKind | None]]:
    """Whether the owner is there, and the kind that excludes the interest. If its kind matters, lock its address."""
    other = _EXCLUDES.get(interest.kind)
    if other is not None:
        yield from ask("route_lock", addresses=[interest.address])
    about = {
        "owner": owner.name, "life": owner.life, "interest_id": interest.interest_id, "address": interest.address,
        "kind": interest.kind.value, "where_": interest.where, "other": None if other is None else other.value,
    }  # fmt: skip
    (answer,) = yield from ask_last(Ask("register_interest", about))
    ((there, allowed),) = answer.rows
    return bool(there), None if allowed else other


def _give_back(owner: Owner, ids: Sequence[str], at: int | None) -> Operation[int]:
    if owner.life == OUTSIDE:
        back = Ask("letters_back", {"subscriber": owner.name, "ids": ids})
    else:
        back = Ask("give_back", {"owner": owner.name, "life": owner.life, "ids": ids, "at": at})
    (answer,) = yield from ask_last(back)
    ((count,),) = answer.rows
    return int(count)


def _expire(before: int, limit: int) -> Operation[int]:
    values = {"before": before, "limit": limit}
    notes = {"before": noted_until(before), "limit": limit}
    gone, *_ = yield from ask_all(Ask("expire", values), Ask("expire_addresses", values), Ask("expire_notes", notes))
    ((count,),) = gone.rows
    return int(count)


# ── where DELETE returns no rows ────────────────────────────────────────────────────────────────────────────────────


async def take_back(interpreter: Interpreter, mail: Sequence[tuple[str, str]]) -> int:
    """Keep taken messages of these inboxes at their addresses again, and remove copies; return how many were there."""
    if not mail:
        return 0
    rows = [(*one, None) for one in sorted(set(mail))]
    (answer,) = await interpreter.together(partial(ask_last, Ask("take_back", {"mail": rows})))
    ((count,),) = answer.rows
    return int(count)


def return_in_parts(*scripts: str) -> Callable[[Values], Operation[Answer]]:
    """Keep mail at its addresses again by these scripts."""
    return partial(_return_in_parts, scripts)


def _return_in_parts(scripts: Sequence[str], values: Values) -> Operation[Answer]:
    answers = yield from ask_last(*(Ask(script, values) for script in scripts))
    return Answer([(answers[scripts.index("drop_mail")].touched,)], 1)


def give_back_in_parts(*scripts: str) -> Callable[[Values], Operation[Answer]]:
    """The same, unless the owner of the mail has begun another life."""
    return partial(_give_back_in_parts, scripts)


def _give_back_in_parts(scripts: Sequence[str], values: Values) -> Operation[Answer]:
    (lives,) = yield from look(Ask("lives", {"owner": values["owner"]}))
    if any(life != values["life"] for (life,) in lives.rows):
        return Answer([(0,)], 1)
    mail = [(values["owner"], one, values["at"]) for one in values["ids"]]
    return (yield from _return_in_parts(scripts, {"mail": mail}))


def letters_back_in_parts(*scripts: str) -> Callable[[Values], Operation[Answer]]:
    """Give back letters by these scripts, of which the last removes them."""
    return partial(_letters_back_in_parts, scripts)


def _letters_back_in_parts(scripts: Sequence[str], values: Values) -> Operation[Answer]:
    answers = yield from ask_last(*(Ask(script, values) for script in scripts))
    return Answer([(answers[-1].touched,)], 1)
