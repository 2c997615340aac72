"""What searches, counts and the census ask, and what is made of the answers, without a database."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from romancy.status import Status
from romancy.storage.query import Position, build_query
from romancy.storage.records import InstanceRow, Page
from romancy.storage.sqlkit.reading import SqlReading
from romancy.storage.sqlkit.statements import Answer, Operation, Running, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from romancy.storage.query import Query

pytestmark = pytest.mark.anyio

T = TypeVar("T")
Rows = list[tuple[Any, ...]]

BORDER = 100


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def worker(token: str) -> tuple[Any, ...]:
    return (7, True, token, f"id of {token}", 1, 1, False, [], "", "", 1, 1, 0, 0)


def instance(number: int) -> tuple[Any, ...]:
    """Started at this time."""
    shown = {"instance_id": f"i{number}", "life": 1, "workflow_name": "flow", "status": "completed", "code": "c"}
    times = {"created_at": number, "updated_at": 1, "input": b"", "error": "broken", "run_from": 1, "last_seq": 2}
    zeros = dict.fromkeys(("signals", "seen", "priority"), 0)
    return tuple((shown | times | zeros).get(name) for name in InstanceRow.__struct_fields__)


class Answering:
    """An interpreter of a database that answers each script with the next of its rows."""

    def __init__(self, **rows: list[Rows]) -> None:
        self._rows = rows
        self.asked: list[str] = []

    async def read(self, begin: Callable[[], Operation[T]], /) -> T:
        with closing(Running(begin())) as running:
            while (request := running.request) is not None:
                running.answer([self._answer(each.script) for each in request.asks])
            return running.result

    def _answer(self, script: str) -> Answer:
        self.asked.append(script)
        rows = self._rows[script].pop(0)
        return Answer(rows, len(rows))

    async def in_turn(
        self, begin: Callable[[], Operation[T]], /, *, weight: int = 3, lock_waits: int | None = None
    ) -> T:
        return await self.read(begin)

    async def together(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,
        lock_waits: int | None = None,
        lasting: bool = True,
        keys: Sequence[int] = (),
    ) -> T:
        return await self.read(begin)


class Composing:
    """Composes nothing, and remembers for which queries it was asked to."""

    def __init__(self) -> None:
        self.pages: list[tuple[Query, bool]] = []

    def known(self, query: Query, /) -> Operation[int | None]:
        rows = (yield from ask("known")).rows
        return len(rows) or None

    def page(self, query: Query, known: int, /, *, by_end: bool) -> Operation[Sequence[Sequence[Any]]]:
        self.pages.append((query, by_end))
        return (yield from ask("page")).rows

    def count(self, query: Query, known: int, /) -> Operation[Sequence[Sequence[Any]]]:
        return (yield from ask("count")).rows


async def found(query: Query, **rows: list[Rows]) -> tuple[Page, list[str], list[tuple[Query, bool]]]:
    """The page, what was asked, and the queries that were composed."""
    search, composing = Answering(known=[[("flow",)]], **rows), Composing()
    page = await SqlReading(Answering(), search, composing).find(query)
    return page, search.asked, composing.pages


async def test_a_page_has_its_rows_and_a_token_if_there_are_more() -> None:
    query = build_query(limit=2)
    rows = [instance(3), instance(2), instance(1)]

    whole, asked, _ = await found(query, page=[rows[1:]])
    cut, _, _ = await found(query, page=[rows])

    assert asked == ["known", "page"]
    assert (["i2", "i1"], None) == ([row.instance_id for row in whole.rows], whole.next_token)
    assert ["i3", "i2"] == [row.instance_id for row in cut.rows]
    assert cut.next_token == query.token_after(2, "i2")
    (row, _) = cut.rows
    assert (Status.COMPLETED, 3, "broken", 2) == (row.status, row.created_at, row.error, row.last_seq)


async def test_a_part_is_read_for_what_the_parts_before_it_lack() -> None:
    """First those that were started since the border, then the older ones, by their ends if they are many."""
    query = build_query(ended_since=BORDER, limit=3)

    page, asked, ((newer, by_start), (older, by_end)) = await found(
        query, page=[[instance(BORDER + 1)], [instance(2), instance(1)]], place_behind=[[(1, "i1")]]
    )

    assert asked == ["known", "page", "place_behind", "page"]
    assert ["i101", "i2", "i1"] == [row.instance_id for row in page.rows]
    assert (BORDER, 3, False) == (newer.since, newer.limit, by_start)
    assert (Position(BORDER, ""), 2, True) == (older.after, older.limit, by_end)


async def test_few_older_instances_are_read_in_the_order_of_their_starts() -> None:
    _, _, ((_, _), (_, by_end)) = await found(build_query(ended_since=BORDER), page=[[], []], place_behind=[[]])

    assert not by_end


async def test_a_page_that_is_full_needs_no_other_part() -> None:
    rows = [instance(BORDER + 2), instance(BORDER + 1)]

    page, asked, _ = await found(build_query(ended_since=BORDER, limit=1), page=[rows])

    assert asked == ["known", "page"]
    assert page.next_token is not None


async def test_a_query_that_nothing_can_match_asks_for_nothing() -> None:
    never = [
        build_query(ids=[]),
        build_query(ended_since=2, ended_until=1),
        build_query(ended_since=1, status="waiting"),
    ]
    search = Answering()
    reading = SqlReading(Answering(), search, Composing())

    assert [Page(rows=[])] * len(never) == [await reading.find(query) for query in never]
    assert [{}] * len(never) == [await reading.count(query) for query in never]
    assert search.asked == []


async def test_a_name_that_no_workflow_has_is_all_that_is_asked_for() -> None:
    search = Answering(known=[[], []])
    reading = SqlReading(Answering(), search, Composing())

    assert Page(rows=[]) == await reading.find(build_query(workflow_name="none"))
    assert {} == await reading.count(build_query(workflow_name="none"))
    assert search.asked == ["known", "known"]


async def test_counts_are_by_workflow_and_status() -> None:
    search = Answering(known=[[("flow",)]], count=[[("flow", "failed", 3), ("flow", "stuck", 1)]])

    counts = await SqlReading(Answering(), search, Composing()).count(build_query())

    assert {("flow", Status.FAILED): 3, ("flow", Status.STUCK): 1} == counts


async def test_workers_are_listed_in_one_order() -> None:
    """A server finds rows in another order once they have been updated, and displays would jump."""
    interpreter = Answering(peers=[[worker("b"), worker("c"), worker("a")]])

    census = await SqlReading(interpreter, Answering(), Composing()).census()

    assert ["a", "b", "c"] == [peer.token for peer in census.workers]
