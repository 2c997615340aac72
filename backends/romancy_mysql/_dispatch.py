"""A dispatch: moves messages kept at addresses to the inboxes and letter boxes of interested owners.

It reads without locks, decides, and writes in one packet that counts the removed rows. If another dispatch has removed
a message or an interest in the meantime, or has moved a number, the count is too small and this dispatch starts again.
So two dispatches of an address never both succeed on the same rows, and none holds a lock while this process decides.
Messages are read before interests, so an interest that was registered before a message was posted is seen.
"""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from romancy.errors import StorageUnavailableError
from romancy.storage.pairing import Kept, Pairing, Wanted, copy_id, number, pair
from romancy.storage.routing import OUTSIDE, Dispatched, InterestKind, Owner, Spread
from romancy_mysql._database import pause
from romancy_mysql._effects import CLOSED, Write
from romancy_mysql._errors import LockWaitError
from romancy_mysql._sql import comma, row, rows_of, source
from romancy_mysql._taken import give_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from romancy.storage.pairing import Numbers
    from romancy_mysql._database import Database
    from romancy_mysql._protocol import Answer
    from romancy_mysql._sql import Statement, Value

__all__ = ["Dispatch"]

_ROUNDS = 10
_LOCK_WAITS = 3
_ADDRESSES_AT_ONCE = 500
_COUNTED_AT_ONCE = 500
_PAGE, _WIDEST_PAGE, _WIDER = 500, 2000, 4
"""The number of messages in a page. For each page, the server looks at all messages there."""
_BEGINNING = (-1, "")

_KEY = ("owner", "life", "interest_id")
_MAIL = ("instance_id", "delivery_id", "at", "interest", "address", "message_id")
_LETTER = ("subscriber", "letter_id", "at", "taken", "address", "message_id")


class _Look(NamedTuple):
    """The messages and interests at some addresses."""

    messages: list[Kept]
    wanted: list[Wanted]
    numbers: dict[str, int]
    now: int
    full: bool
    """Whether there may be more messages behind these."""

    @property
    def end(self) -> tuple[int, str]:
        """The place after which the next page begins."""
        return (self.messages[-1].at, self.messages[-1].message_id)


_NOTHING = _Look(messages=[], wanted=[], numbers={}, now=0, full=False)


class Dispatch:
    """Dispatches from some addresses at a time, until a limit is met."""

    def __init__(self, database: Database, tell: Callable[[Iterable[str]], None], limit: int) -> None:
        self._database = database
        self._tell = tell
        self._limit = limit
        self._delivered = 0
        self._more = False
        self._held_up: dict[str, str] = {}

    async def from_addresses(self, addresses: Iterable[str]) -> Dispatched:
        """As `Router.dispatch` promises for these addresses."""
        ordered = sorted(set(addresses))
        for first in range(0, len(ordered), _ADDRESSES_AT_ONCE):
            if self._delivered >= self._limit:
                self._more = True
                break
            await self._together(ordered[first : first + _ADDRESSES_AT_ONCE])
        return Dispatched(delivered=self._delivered, more=self._more, held_up=self._held_up)

    async def _together(self, addresses: Sequence[str]) -> None:
        """Dispatch from these addresses. If another transaction holds a row, dispatch each address by itself."""
        try:
            await self._all_pages(addresses, patient=len(addresses) == 1)
        except LockWaitError:
            failed: StorageUnavailableError | None = None
            for address in addresses:
                try:
                    await self._all_pages([address], patient=True)
                except StorageUnavailableError as error:
                    failed = error
            if failed is not None:
                raise failed from None

    async def _all_pages(self, addresses: Sequence[str], *, patient: bool) -> None:
        after, size = _BEGINNING, _PAGE
        while True:
            look, done = await self._page(addresses, after, size, patient=patient)
            self._delivered += done.delivered
            self._held_up |= done.held_up
            if done.stopped:
                self._more = True
                return
            if not look.full:
                return
            if self._delivered >= self._limit:
                self._more = True
                return
            after, size = look.end, min(size * _WIDER, _WIDEST_PAGE)

    async def _page(
        self, addresses: Sequence[str], after: tuple[int, str], size: int, *, patient: bool
    ) -> tuple[_Look, Pairing]:
        """Route one page of messages. Starts again if others change the rows on which the decision rests."""
        database = self._database
        for attempt in range(_ROUNDS):
            look = await self._look(addresses, after, size)
            done = pair(look.messages, look.wanted, limit=self._limit - self._delivered)
            if not done.finished:
                return look, done
            writing = _Writing(database, look, done)
            left = await database.write_then(
                list(writing.statements()), list(writing.asks()), lock_waits=_LOCK_WAITS if patient else 0
            )
            if left is not None:
                await self._counted(
                    writing.mail, {(name.decode(), one.decode()) for part in left for name, one in part.rows}
                )
                return look, done
            await pause(attempt)
        self._more = True  # another process routes these messages, and was faster each time
        return _NOTHING, Pairing()

    async def _look(self, addresses: Sequence[str], after: tuple[int, str], size: int) -> _Look:
        database = self._database
        rows = rows_of(("address",), [(one,) for one in addresses])
        at, message_id = after
        messages, wanted, numbers, now = await database.ask(
            database.statement("read_messages", rows=rows, at=at, message_id=message_id, limit=size),
            database.statement("read_interests", rows=rows, closed=CLOSED),
            database.statement("read_numbers", ids=comma(addresses)),
            database.statement("read_now"),
        )
        full = len(messages.rows) >= size
        return _Look(
            messages=_whole(_messages(messages), full=full),
            wanted=[
                Wanted(
                    Owner(name.decode(), life), one.decode(), address.decode(), InterestKind(kind.decode()), where, at
                )
                for name, life, one, address, kind, where, at in wanted.rows
            ],
            numbers={address.decode(): last for address, last in numbers.rows},
            now=int(now.rows[0][0]),
            full=full,
        )

    async def _counted(self, mail: Sequence[tuple[Owner, str]], left: set[tuple[str, str]]) -> None:
        """Wake the owners of mail that the dispatch itself has counted. Count the rest."""
        self._tell({owner.name for owner, one in mail if (owner.name, one) not in left})
        await self._count([(owner, one) for owner, one in mail if (owner.name, one) in left])

    async def _count(self, mail: Sequence[tuple[Owner, str]]) -> None:
        """Count mail whose receivers others held, and wake them. If that fails, the next sweep does it.

        Mail of an instance that has ended or begun another life in the meantime is given back.
        """
        for first in range(0, len(mail), _COUNTED_AT_ONCE):
            part = mail[first : first + _COUNTED_AT_ONCE]
            try:
                await self._count_some(part)
            except StorageUnavailableError:
                continue

    async def _count_some(self, mail: Sequence[tuple[Owner, str]]) -> None:
        database = self._database
        rows = rows_of(("instance_id", "life", "delivery_id"), [(owner.name, owner.life, one) for owner, one in mail])
        misdelivered = database.statement("find_misdelivered", rows=rows, closed=CLOSED)
        try:
            await self._count_these([(owner.name, one) for owner, one in mail])
        except LockWaitError:
            ids = sorted({owner.name for owner, _ in mail})
            (free,) = await database.ask(database.statement("free_instances", ids=comma(ids)))
            names = {one.decode() for (one,) in free.rows}
            await self._count_these([(owner.name, one) for owner, one in mail if owner.name in names])
        (lost,) = await database.ask(misdelivered)
        if lost.rows:
            await give_back(database, [(name.decode(), one.decode()) for name, one in lost.rows])
            self._more = True  # they are at these addresses again

    async def _count_these(self, places: list[tuple[str, str]]) -> None:
        if places:
            await self._database.write(list(Write(self._database.__getitem__).count_later(places)), lock_waits=0)
            self._tell({name for name, _ in places})


def _messages(answer: Answer) -> list[Kept]:
    found = [
        Kept(address.decode(), message_id.decode(), Spread(spread.decode()), at, projection)
        for address, message_id, spread, at, projection in answer.rows
    ]
    return sorted(found, key=lambda one: (one.at, one.message_id, one.address))


def _whole(messages: list[Kept], *, full: bool) -> list[Kept]:
    """A page without its last message, whose further places may be on the next page."""
    if not full:
        return messages
    last = messages[-1].message_id
    kept = [one for one in messages if one.message_id != last]
    return kept or messages


class _Writing:
    """The statements that carry out a decision."""

    def __init__(self, database: Database, look: _Look, done: Pairing) -> None:
        self._database = database
        self._look = look
        self._done = done
        self._numbers: Numbers = number(done, look.numbers, look.now)
        self.mail: list[tuple[Owner, str]] = []
        """Owner and delivery id of each message for an inbox."""
        self._letters: list[tuple[str, str, int | None, bool, str, str]] = []
        self._rows: list[tuple[str, str, int | None, str | None, str, str]] = []
        for take in done.takes:
            self._add(take.owner, take.address, take.message_id, take.interest_id)
        for copy in done.copies:
            self._add(copy.owner, copy.address, copy.message_id, None)

    def _add(self, owner: Owner, address: str, message_id: str, interest: str | None) -> None:
        at = self._numbers.of.get((address, message_id))
        if owner.life == OUTSIDE:
            one = copy_id(address, at or 0)
            self._letters.append((owner.name, one, at, interest is not None, address, message_id))
            return
        one = message_id if interest is not None else copy_id(address, at or 0)
        self.mail.append((owner, one))
        self._rows.append((owner.name, one, None if interest is not None else at, interest, address, message_id))

    def statements(self) -> Iterator[Statement]:
        """In the order of locks: addresses, interests, deliveries, messages, and receivers that are not locked."""
        yield from self._move_numbers()
        yield from self._hold_listeners()
        yield from self._end_interests()
        if self._rows:
            yield self._database["give_mail"].statement(source(_MAIL, sorted(self._rows, key=itemgetter(0, 1))))
            places = comma(row(owner.name, one) for owner, one in sorted(self.mail))
            yield self._database.statement("add_uncounted", rows=places)
        if self._letters:
            yield self._database["give_letters"].statement(source(_LETTER, sorted(self._letters)))
        yield from self._end_messages()
        yield from self._count_mail()

    def asks(self) -> Iterator[Statement]:
        """The query to send after the commit: which mail is not counted yet."""
        if self.mail:
            places = sorted({(owner.name, one) for owner, one in self.mail})
            yield self._database["still_uncounted"].statement(source(("instance_id", "delivery_id"), places))

    def _count_mail(self) -> Iterator[Statement]:
        """Count the mail of receivers that are not locked. `hold_free` has removed their marks."""
        if not self.mail:
            return
        database = self._database
        places = sorted({(owner.name, owner.life, one) for owner, one in self.mail})
        held = source(("instance_id", "life", "delivery_id"), places)
        yield database["hold_free"].statement(held, closed=CLOSED)
        counts = Counter((name, life) for name, life, _ in places)
        of = {(name, life): one for name, life, one in places}
        rows = [(name, of[name, life], count) for (name, life), count in sorted(counts.items())]
        counted = source(("instance_id", "delivery_id", "count"), rows)
        yield self._free("signal_instances", counted | {"closed": CLOSED})
        yield self._free(
            "number_inbox", source(("instance_id", "delivery_id"), [(name, one) for name, _, one in places])
        )

    def _free(self, name: str, parameters: Mapping[str, Value]) -> Statement:
        """Restrict a statement about messages to those that have lost their marks."""
        return self._database[name].statement(parameters, further=self._database["unmarked"].render(parameters))

    def _end_messages(self) -> Iterator[Statement]:
        """Remove routed messages, which must all exist, and unwanted ones, which may be gone already."""
        key = ("address", "message_id")
        given = {(one.address, one.message_id) for moved in (self._done.takes, self._done.copies) for one in moved}
        if given:
            yield self._database["end_messages"].statement(source(key, sorted(given)), expected=len(given))
        unwanted = sorted(set(self._done.finished) - given)
        if unwanted:
            yield self._database["drop_messages"].statement(source(key, unwanted))

    def _move_numbers(self) -> Iterator[Statement]:
        moved: Mapping[str, int] = self._numbers.last
        if not moved:
            return
        yield self._database["lock_addresses"].statement(source(("address",), [(one,) for one in sorted(moved)]))
        rows = [(one, latest, self._look.numbers.get(one, 0)) for one, latest in sorted(moved.items())]
        yield self._database["number_addresses"].statement(
            source(("address", "number", "last"), rows), expected=len(rows)
        )

    def _hold_listeners(self) -> Iterator[Statement]:
        """Lock the interests in copies as they were read, so that no copy goes to a life that is purged meanwhile."""
        of = {(one.owner, one.address): one for one in self._look.wanted if one.kind is InterestKind.COPY}
        held = {of[copy.owner, copy.address] for copy in self._done.copies}
        if not held:
            return
        rows = sorted((one.owner.name, one.owner.life, one.interest_id, one.address) for one in held)
        yield self._database["hold_interests"].statement(source((*_KEY, "address"), rows), count=len(rows))

    def _end_interests(self) -> Iterator[Statement]:
        if not self._done.takes:
            return
        since = {(one.owner, one.interest_id): one.at for one in self._look.wanted}
        rows = sorted(
            (take.owner.name, take.owner.life, take.interest_id, take.address, since[take.owner, take.interest_id])
            for take in self._done.takes
        )
        yield self._database["end_interests"].statement(source((*_KEY, "address", "at"), rows), expected=len(rows))
