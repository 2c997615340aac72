"""A dispatch without a database: what it asks for, and the rows of its decision."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from romancy.storage.pairing import copy_id
from romancy.storage.query import encode_where, gt, project
from romancy.storage.routing import OUTSIDE, Dispatched
from romancy.storage.sqlkit.dispatches import COUNTED, LATE, LETTER, OVER, Moved, move
from romancy.storage.sqlkit.marks import Marks
from romancy.storage.sqlkit.routing import SqlRouter
from romancy.storage.sqlkit.statements import Answer, LockedError, OvertakenError, Running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Delivered
    from romancy.storage.routing import Posting
    from romancy.storage.sqlkit.dispatches import Decision
    from romancy.storage.sqlkit.statements import Ask, Operation

pytestmark = pytest.mark.anyio

NOW = 1000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def message(message_id: str, address: str = "a", spread: str = "one", at: int = 1) -> tuple[Any, ...]:
    return (address, message_id, spread, at, None, 0, -1, None)


def interest(
    owner: str,
    kind: str,
    address: str = "a",
    life: int = 1,
    one: str = "i",
    where: bytes | None = None,
    *,
    compared_to: int = -1,
    receives: bool = True,
) -> tuple[Any, ...]:
    return (owner, life, one, address, kind, where, 7, compared_to, receives, None, NOW)


class Database:
    """Answers with these messages and interests, and remembers what it was asked."""

    def __init__(self, pages: Sequence[Sequence[tuple[Any, ...]]], interests: Sequence[tuple[Any, ...]]) -> None:
        self._pages = list(pages)
        self._interests = interests
        self.states: dict[str, str] = {}
        """Of what is delivered, by owner; otherwise it is counted."""
        self.asked: list[list[str]] = []
        self.limits: list[int] = []
        self.decision: Decision | None = None

    def carry_out(self, operation: Operation[Moved]) -> tuple[Moved, set[str]]:
        with closing(Running(operation)) as running:
            while (request := running.request) is not None:
                self.asked.append([one.script for one in request.asks])
                running.answer([self._answer(one) for one in request.asks])
            return running.result, running.news

    def _answer(self, one: Ask) -> Answer:
        if one.script == "route_messages":
            self.limits.append(one.values["limit"])
            rows: Sequence[tuple[Any, ...]] = self._pages.pop(0)
        elif one.script == "route_interests":
            rows = self._interests
        else:
            self.decision = decision = one.values["decision"]
            rows = [(name, row, self.states.get(name, COUNTED)) for name, row, *_ in decision.mail]
            rows += [(name, row, LETTER) for name, row, *_ in decision.letters]
        return Answer(rows, len(rows))


class Growing(Database):
    """One whose interests are others after the first page."""

    next: Sequence[tuple[Any, ...]] = ()

    def _answer(self, one: Ask) -> Answer:
        answer = super()._answer(one)
        if one.script == "route_interests":
            self._interests = self.next
        return answer


def test_messages_are_asked_for_before_interests_and_written_in_the_end() -> None:
    database = Database([[message("m")]], [interest("one", "take")])

    moved, news = database.carry_out(move(["a"], 10))

    assert database.asked == [["route_messages", "route_interests"], ["route_write"]]
    assert (moved, news) == (Moved(1, more=False, held_up={}, unseen=[]), {"one"})


def test_pages_become_wider_until_one_has_a_receiver() -> None:
    nobody = [message(f"m{number:04}", "b") for number in range(2000)]
    database = Database([nobody[:500], nobody, [message("m")]], [interest("one", "take")])

    moved, _ = database.carry_out(move(["a", "b"], 10))

    assert database.limits == [500, 2000, 2000]
    assert (moved.delivered, moved.more) == (1, False)


def test_a_decision_has_the_rows_of_takes_copies_and_letters() -> None:
    messages = [message("m1"), message("m2"), message("m3", "e", "every"), message("m4", "f", "every")]
    takers = [interest("one", "take"), interest("out", "take", life=OUTSIDE, one="j")]
    listeners = [interest("two", "copy", "e", one=one) for one in ("k", "l")]
    database = Database([messages], [*takers, *listeners])

    database.carry_out(move(["a", "e", "f"], 10))

    decision = database.decision
    assert decision is not None
    letter, copied = copy_id("a", NOW), copy_id("e", NOW)
    assert decision.takes == [
        ("one", 1, "i", "m1", NOW, "a", "m1", 7),
        ("out", OUTSIDE, "j", letter, NOW, "a", "m2", 7),
    ]
    assert decision.copies == [("two", 1, one, copied, NOW, "e", "m3") for one in ("k", "l")]
    assert decision.mail == [("one", "m1", NOW, "i", "a", "m1"), ("two", copied, NOW, None, "e", "m3")]
    assert decision.letters == [("out", letter, NOW, True, "a", "m2")]
    assert decision.given == [("a", "m1"), ("a", "m2"), ("e", "m3")]
    assert decision.dropped == [("f", "m4")]
    assert decision.numbers == [("a", NOW, 0), ("e", NOW, 0)]


def test_mail_that_is_not_counted_is_named_with_the_life_of_its_owner() -> None:
    """Also if a subscriber outside has the name of the instance."""
    interests = [interest(name, "copy", "e", life) for name, life in (("one", 3), ("two", 1), ("one", OUTSIDE))]
    database = Database([[message("m", "e", "every")]], interests)
    database.states = {"one": LATE, "two": OVER}

    moved, news = database.carry_out(move(["e"], 10))

    assert [(one.owner, one.over) for one in moved.unseen] == [(("one", 3), False), (("two", 1), True)]
    assert (moved.delivered, news) == (3, set())


# ── marks ───────────────────────────────────────────────────────────────────────────────────────────────────────────

HIGH = encode_where({"n": gt(100)})


def marked(pages: Sequence[Sequence[tuple[Any, ...]]], *interests: tuple[Any, ...]) -> Marks | None:
    """What a dispatch of these notes."""
    database = Database(pages, interests)
    database.carry_out(move(["a"], 10))
    return None if database.decision is None else database.decision.marks


def test_what_was_compared_in_vain_is_marked() -> None:
    marks = marked([[message("m")]], interest("one", "take", where=HIGH))

    assert marks == Marks([("a", "m", 1)], [("one", 1, "i", "a", HIGH)], (1 << 63) - 1, [("a", NOW, 0)])


def test_without_conditions_nothing_is_marked() -> None:
    assert marked([[message("m"), message("n")]], interest("one", "take")) is None


def test_an_interest_that_came_after_the_messages_were_read_is_not_marked() -> None:
    """Messages that are marked were left out for the others."""
    others = (*message("m")[:6], 5, None)

    marks = marked([[others]], interest("one", "take", where=HIGH), interest("two", "take", where=HIGH, compared_to=5))

    assert marks is not None
    assert [row[0] for row in marks.interests] == ["two"]
    assert marks.messages == [("a", "m", 1)]


def test_nothing_is_marked_beside_a_mark_whose_owner_was_left_out() -> None:
    over = interest("two", "take", where=HIGH, compared_to=9, receives=False)

    assert marked([[message("m")]], interest("one", "take", where=HIGH), over) is None


def test_what_was_read_without_data_is_not_marked() -> None:
    """The first conditions at the address came after the messages were read."""
    bare = (*message("m")[:6], None, None)

    assert marked([[bare]], interest("one", "take", where=HIGH)) is None


def test_nothing_is_marked_beside_an_interest_that_cannot_be_read() -> None:
    newer = interest("two", "take", where=b'{"all":[{"key":"n","predicate":{"type":"FromAnotherAge"}}]}')

    data = ("a", "m", "one", 1, project(b'{"n":1}'), 0, -1, None)
    assert marked([[data]], interest("one", "take", where=HIGH), newer) is None


def test_many_messages_that_cannot_be_marked_hold_up_nothing_behind_them() -> None:
    """They have no data, so they fit no condition. One with data cannot be compared, so the address is not marked."""
    newer = interest("two", "take", where=b'{"all":[{"key":"n","predicate":{"type":"FromAnotherAge"}}]}')
    data = ("a", "m", "one", 0, project(b'{"n":1}'), 0, -1, None)
    page = [data, *(message(f"m{number:04}", at=1 + number) for number in range(499))]
    again = [message(f"n{number:04}", at=500 + number) for number in range(2000)]
    database = Database([page, again, [message("last", "b", at=9000)]], [newer, interest("one", "take", "b")])

    moved, _ = database.carry_out(move(["a", "b"], 10))

    assert (moved.delivered, moved.more, list(moved.held_up)) == (1, False, ["a"])


def test_an_interest_is_marked_up_to_where_the_reading_ended() -> None:
    page = [message(f"m{number:04}", at=number) for number in range(500)]
    again = [message(f"n{number:04}", at=500 + number) for number in range(2000)]

    marks = marked([page, again], interest("one", "take", where=HIGH))

    assert marks is not None
    assert len(marks.messages) == 2500, "others follow in another call"
    assert marks.until == 2498


def test_an_interest_that_came_between_two_pages_is_not_marked() -> None:
    page = [message(f"m{number:04}", at=number) for number in range(500)]
    first, second = interest("one", "take", where=HIGH), interest("two", "take", where=HIGH)
    database = Growing([page, [message("n", at=500)]], [first])
    database.next = [first, second]

    database.carry_out(move(["a"], 10))

    assert database.decision is not None
    assert database.decision.marks is not None
    assert [row[0] for row in database.decision.marks.interests] == ["one"]
    assert len(database.decision.marks.messages) == 501


# ── several addresses ───────────────────────────────────────────────────────────────────────────────────────────────


class Server:
    """An interpreter on which each address has a message, except where others have locked it or are faster."""

    def __init__(self, locked: frozenset[str], overtaken: frozenset[str] = frozenset()) -> None:
        self._locked, self._overtaken = locked, overtaken
        self.moved: list[list[str]] = []

    async def read(self, begin: Any, /) -> Answer:
        return Answer([(address, None) for address in begin.keywords["addresses"]], 1)

    async def together(self, begin: Any, /, **_: object) -> Moved:
        addresses: list[str] = begin.args[0]
        if self._locked.intersection(addresses):
            raise LockedError
        if self._overtaken.intersection(addresses):
            raise OvertakenError
        self.moved.append(addresses)
        return Moved(len(addresses), more=False, held_up={}, unseen=[])


class Router(SqlRouter):
    async def post(self, batch: Sequence[Posting], /) -> list[Delivered]:
        raise NotImplementedError

    async def _sweep(self, limit: int) -> Dispatched:
        raise NotImplementedError


def router(server: Any) -> Router:
    return Router(server)


async def test_an_address_that_is_locked_holds_up_no_other() -> None:
    server = Server(frozenset("c"))

    with pytest.raises(LockedError):
        await router(server).dispatch(list("abcdefgh"), limit=100)

    assert sorted(one for some in server.moved for one in some) == list("abdefgh")


async def test_a_dispatch_that_others_overtake_is_to_be_repeated() -> None:
    assert (await router(Server(frozenset(), frozenset("a"))).dispatch(["a"])).more


async def test_a_dispatch_ends_at_its_limit() -> None:
    server = Server(frozenset())
    addresses = [f"{number:04}" for number in range(1200)]

    done = await router(server).dispatch(addresses, limit=600)

    assert (done.delivered, done.more) == (1000, True)
