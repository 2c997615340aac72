"""Log lines and streams of instances: in one order, shown once, and gone with the instance."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.journal import NewLine
from romancy.storage.records import Former, Outcome, PruneRequest
from romancy.storage.services import Service
from romancy_conformance.contract.building import Actor, append, change, start, step, unique
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from romancy.storage.journal import Journal
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(store: Store) -> Journal:
    return services_with(Service.JOURNAL, store).journal


def lines(of: Append, *texts: str) -> list[NewLine]:
    return [NewLine(of.instance_id, of.life, unique("m"), at, text.encode()) for at, text in enumerate(texts)]


async def texts(journal: Journal, of: Append, after: tuple[int, int] = (0, 0), limit: int = 1000) -> list[str]:
    return [line.body.decode() for line in await journal.lines(of.instance_id, after=after, limit=limit)]


async def born(store: Store, instance_id: str | None = None) -> Append:
    first = start(instance_id)
    assert [Outcome.ACCEPTED] == await store.commit([first])
    return first


async def test_lines_of_many_instances_are_read_in_the_order_in_which_they_were_written(
    store: Store, journal: Journal
) -> None:
    a, b = await born(store), await born(store)
    assert [] == await journal.put([*lines(a, "1", "2"), *lines(b, "x"), *lines(a, "3")], keep=10)
    assert [] == await journal.put(lines(a, "4"), keep=10)
    assert ["1", "2", "3", "4"] == await texts(journal, a)
    assert ["x"] == await texts(journal, b)
    assert ["3", "4"] == [line.body.decode() for line in await journal.newest(a.instance_id, limit=2)]
    assert [] == await journal.lines(unique("nobody"))
    assert [] == await journal.lines("not an id\0")


async def test_a_reader_goes_on_behind_the_last_line_that_it_saw(store: Store, journal: Journal) -> None:
    a = await born(store)
    await journal.put(lines(a, *map(str, range(7))), keep=10)
    seen, place = list[str](), (0, 0)
    while page := await journal.lines(a.instance_id, after=place, limit=3):
        seen += [line.body.decode() for line in page]
        place = page[-1].life, page[-1].number
    assert list(map(str, range(7))) == seen
    assert list(map(str, range(7))) == await texts(journal, a, (a.life + 1, 5))  # a place of another life
    assert [] == await texts(journal, a, (a.life, 2**70))
    assert 7 == len(await texts(journal, a, (-1, -5)))


async def test_only_the_newest_lines_of_an_instance_stay(store: Store, journal: Journal) -> None:
    a, b = await born(store), await born(store)
    await journal.put(lines(b, "other"), keep=3)
    for text in "abcde":
        await journal.put(lines(a, text), keep=3)
        assert len(await texts(journal, a)) <= 3
    assert ["c", "d", "e"] == await texts(journal, a)
    await journal.put(lines(a, *"fghijk"), keep=3)
    assert ["i", "j", "k"] == await texts(journal, a)
    await journal.put(lines(a, "l"), keep=1)
    assert ["l"] == await texts(journal, a)
    assert ["other"] == await texts(journal, b)


async def test_what_is_sent_again_is_written_once(store: Store, journal: Journal) -> None:
    a = await born(store)
    new = lines(a, "1", "2", "3")
    await journal.put(new[:2], keep=10)
    assert [] == await journal.put(new, keep=10, again=True)
    assert [] == await journal.put(new, keep=10, again=True)
    assert ["1", "2", "3"] == await texts(journal, a)


async def test_lines_without_an_instance_of_their_life_are_given_back(store: Store, journal: Journal) -> None:
    a = await born(store)
    lost, other = lines(start(), "nobody"), [line._replace(life=a.life + 1) for line in lines(a, "other life")]
    assert [*lost, *other] == await journal.put([*lost, *lines(a, "mine"), *other], keep=10)
    assert ["mine"] == await texts(journal, a)


async def test_lines_go_with_their_instance(store: Store, journal: Journal) -> None:
    upkeep = services_with(Service.UPKEEP, store).upkeep
    ended = start(status=Status.COMPLETED)
    assert [Outcome.ACCEPTED] == await store.commit([ended])
    await journal.put(lines(ended, "gone"), keep=10)
    assert 1 == await upkeep.prune(PruneRequest(instance_ids=(ended.instance_id,)))
    assert [] == await texts(journal, ended)
    again = await born(store, ended.instance_id)
    assert [] == await texts(journal, again)
    assert 1 == len(await journal.put(lines(ended, "late"), keep=10))


async def test_lines_go_with_a_life_that_is_replaced(store: Store, journal: Journal) -> None:
    ended = start(status=Status.COMPLETED)
    assert [Outcome.ACCEPTED] == await store.commit([ended])
    await journal.put(lines(ended, "old"), keep=10)
    again = start(ended.instance_id, replaces=Former(ended.life, frozenset({Status.COMPLETED})))
    assert [Outcome.ACCEPTED] == await store.commit([again])
    assert [] == await texts(journal, again)
    await journal.put(lines(again, "new"), keep=10)
    assert ["new"] == await texts(journal, again)


async def test_any_bytes_are_kept_as_they_are(store: Store, journal: Journal) -> None:
    a = await born(store)
    bodies = [b"", b"\0", bytes(range(256)), "\N{PILE OF POO}'\\\"".encode(), b"x" * 100_000]
    await journal.put([NewLine(a.instance_id, a.life, unique("m"), 7, body) for body in bodies], keep=10)
    assert [(7, body) for body in bodies] == [(line.at, line.body) for line in await journal.lines(a.instance_id)]


async def test_several_may_write_lines_of_one_instance_at_the_same_time(store: Store, journal: Journal) -> None:
    a = await born(store)
    writers = [[lines(a, f"{writer} {number}") for number in range(10)] for writer in range(4)]

    async def write(batches: list[list[NewLine]]) -> None:
        for batch in batches:
            assert [] == await journal.put(batch, keep=1000)

    seen, place = list[str](), (0, 0)

    async def follow() -> None:
        nonlocal place
        while len(seen) < 40:
            for line in await journal.lines(a.instance_id, after=place):
                seen.append(line.body.decode())
                place = line.life, line.number

    await asyncio.gather(follow(), *map(write, writers))
    assert sorted(f"{writer} {number}" for writer in range(4) for number in range(10)) == sorted(seen)
    for writer in range(4):
        mine = [text for text in seen if text.startswith(f"{writer} ")]
        assert [f"{writer} {number}" for number in range(10)] == mine


_numbers = itertools.count()


def parts(of: Append, *bodies: bytes, owner: str) -> list[NewLine]:
    return [NewLine(of.instance_id, of.life, f"{owner}-{next(_numbers)}", 7, body, owner) for body in bodies]


async def owned(store: Store) -> tuple[Append, str]:
    worker = await Actor(store, workflows={unique("w"): "c1"}).register()
    return await worker.begin(), worker.token


async def test_streams_count_their_bytes_apart_from_log_lines(store: Store, journal: Journal) -> None:
    a, owner = await owned(store)
    await journal.put(lines(a, "logged"), keep=1)
    new = parts(a, b"abc", b"d", bytes(range(256)), owner=owner)
    assert ([], {a.instance_id: 260}) == (await journal.write(new))[:2]
    assert ([], {a.instance_id: 260}) == (await journal.write(new))[:2]
    await journal.put(lines(a, "logged too"), keep=1)
    assert ([], {a.instance_id: 262}) == (await journal.write([*new, *parts(a, b"ef", owner=owner)]))[:2]
    assert [(1, b"abc"), (4, b"d"), (5, bytes(range(256))), (261, b"ef")] == [
        (line.number, line.body) for line in await journal.written(a.instance_id, a.life)
    ]
    assert [b"d"] == [line.body for line in await journal.written(a.instance_id, a.life, after=3, limit=1)]
    assert [] == await journal.written(a.instance_id, a.life, after=2**70)
    assert [] == await journal.written(a.instance_id, a.life + 1)
    assert ["logged too"] == await texts(journal, a)
    assert ["logged too"] == [line.body.decode() for line in await journal.newest(a.instance_id)]


async def test_the_streams_of_several_lives_are_read_together(store: Store, journal: Journal) -> None:
    (a, owner), (b, other), c = await owned(store), await owned(store), await born(store)
    await journal.write([*parts(a, b"abc", b"d", owner=owner)])
    await journal.write([*parts(b, b"e", b"fg", b"h", owner=other)])
    places = [(b.instance_id, b.life, 1), (a.instance_id, a.life, 0), (c.instance_id, c.life, 0), ("none", 1, 0)]
    found = await journal.written_behind([*places, ("no\x00id", 1, 0)])
    expected = {a: [(1, b"abc"), (4, b"d")], b: [(2, b"fg"), (4, b"h")], c: []}
    assert expected == {one: [(line.number, line.body) for line in found[one.instance_id].lines] for one in expected}
    assert {one.instance_id for one in expected} == found.keys()
    assert {} == await journal.written_behind([])
    for place in ((a.instance_id, a.life, 2**70), (a.instance_id, a.life + 1, 0)):
        assert [] == (await journal.written_behind([place]))[a.instance_id].lines, place


async def test_whoever_looks_at_streams_sees_how_far_the_log_is(store: Store, journal: Journal) -> None:
    worker = await Actor(store, workflows={unique("w"): "c1"}).register()
    a, b = await worker.begin(), await worker.begin()

    async def heads() -> list[tuple[int, int]]:
        places = [(one.instance_id, one.life, 0) for one in (a, b)]
        found = await journal.written_behind(places)
        return [(found[one.instance_id].life, found[one.instance_id].last) for one in (a, b)]

    assert [(a.life, 1), (b.life, 1)] == await heads()
    assert "accepted" == await worker.write(step(a, 2))
    assert "accepted" == await worker.write(append(a, 3, change=change()))
    assert [(a.life, 3), (b.life, 1)] == await heads()


async def test_streams_for_which_an_answer_has_no_room_are_left_out(store: Store, journal: Journal) -> None:
    several = [await owned(store) for _ in range(4)]
    for number, (one, owner) in enumerate(several, 1):
        await journal.write(parts(one, *[b"x"] * number, owner=owner))
    places = [(one.instance_id, one.life, 0) for one, _ in several]
    whole = await journal.written_behind(places)
    assert 4 == len(whole)
    for limit in range(1, 11):
        found = await journal.written_behind(places, limit=limit)
        assert found == {one: whole[one] for one in found}, limit
        assert sum(len(one.lines) for one in found.values()) < limit
    assert whole == await journal.written_behind(places, limit=11)


async def test_each_line_of_a_stream_says_which_it_follows(store: Store, journal: Journal) -> None:
    (a, owner), (b, other) = await owned(store), await owned(store)
    first, beside = parts(a, b"abc", b"d", owner=owner), parts(b, b"e", owner=other)
    places = (await journal.write([*first, *beside])).places
    assert [(0, 1), (1, 4), (0, 1)] == [places[line.mark] for line in (*first, *beside)]
    second = parts(a, b"ef", owner=owner)
    assert {second[0].mark: (4, 5)} == (await journal.write([*first, *second])).places, "only what is new"
    assert {} == (await journal.write(parts(a, b"x", owner="another"))).places


async def test_who_does_not_own_the_instance_writes_nothing_to_its_streams(store: Store, journal: Journal) -> None:
    (a, owner), b = await owned(store), await born(store)
    foreign = [
        *parts(a, b"other", owner="another"),
        *parts(b, b"nobody's", owner=owner),
        *parts(start(), b"", owner=""),
    ]
    late = [line._replace(life=a.life + 1) for line in parts(a, b"other life", owner=owner)]
    mine = parts(a, b"mine", owner=owner)
    assert [*foreign, *late] == (await journal.write([*foreign, *mine, *late])).refused
    assert [b"mine"] == [line.body for line in await journal.written(a.instance_id, a.life)]
    assert [] == await journal.written(b.instance_id, b.life)


async def test_a_line_of_a_stream_is_written_once_however_often_it_is_sent(store: Store, journal: Journal) -> None:
    (a, owner), (b, other) = await owned(store), await owned(store)
    first, second = parts(a, b"1", b"2", owner=owner), parts(a, b"3", owner=owner)
    beside = parts(b, b"x", owner=other)
    await journal.write(first)
    await journal.write([*second, *beside])
    sizes = {a.instance_id: 3, b.instance_id: 1}
    assert ([], {a.instance_id: 3}) == (await journal.write(first))[:2], "a call that has come late"
    assert ([], sizes) == (await journal.write([*first, *second, *beside]))[:2]
    following = parts(a, b"4", owner=owner)
    await asyncio.gather(*(journal.write([*second, *following, *beside]) for _ in range(6)))
    assert [b"1", b"2", b"3", b"4"] == [line.body for line in await journal.written(a.instance_id, a.life)]
    assert [b"x"] == [line.body for line in await journal.written(b.instance_id, b.life)]


async def test_a_reader_of_streams_misses_no_line_of_two_writers(store: Store, journal: Journal) -> None:
    a, owner = await owned(store)
    seen = list[bytes]()

    async def write(name: int) -> None:
        for number in range(10):
            lines = parts(a, b"%d %d" % (name, number), b"x" * name, owner=owner)
            await journal.write([line._replace(mark=f"{name}-{line.mark}") for line in lines])

    async def follow() -> None:
        place = 0
        while len(seen) < 80:
            for line in await journal.written(a.instance_id, a.life, after=place):
                seen.append(line.body)
                place = line.number

    await asyncio.gather(follow(), *map(write, range(1, 5)))
    for name in range(1, 5):
        assert [b"%d %d" % (name, number) for number in range(10)] == [
            one for one in seen if one.startswith(b"%d " % name)
        ]


async def bodies(journal: Journal, of: Append) -> list[bytes]:
    return [line.body for line in await journal.written(of.instance_id, of.life)]


async def test_what_former_runs_have_written_goes_with_their_rows_of_the_log(store: Store, journal: Journal) -> None:
    """An instance that continues as new for ever would otherwise hold more and more, until nothing more is allowed."""
    upkeep = services_with(Service.UPKEEP, store).upkeep
    (a, owner), (b, other) = await owned(store), await owned(store)
    for one, token in ((a, owner), (b, other)):
        await journal.write(parts(one, b"of the", b"former run", owner=token))
        await journal.put(lines(one, "logged"), keep=10)
    again = append(a, 2, change=change(Status.RUNNING, run_from=2))
    assert [Outcome.ACCEPTED] == await store.commit([again], worker=owner)
    found = await store.read(a.instance_id)
    assert found is not None
    began = found.rows[-1].at
    at = {b"by a clock that is late": began - 3_599_000_000, b"of this run": began}
    new = [line._replace(at=at[line.body]) for line in parts(a, *at, owner=owner)]
    await journal.write(new)

    await upkeep.prune(PruneRequest())

    assert [*at] == await bodies(journal, a)
    assert [b"of the", b"former run"] == await bodies(journal, b)
    assert ["logged"] == await texts(journal, a)
    assert ([], {a.instance_id: sum(map(len, at))}) == (await journal.write(new))[:2]


async def ended(store: Store, of: Append, owner: str, seq: int = 2) -> int:
    """End it, and return when that was."""
    end = append(of, seq, change=change(Status.COMPLETED))
    assert [Outcome.ACCEPTED] == await store.commit([end], worker=owner)
    found = await store.read(of.instance_id)
    assert found is not None
    return found.instance.updated_at


async def test_streams_of_ended_instances_are_emptied(store: Store, journal: Journal) -> None:
    """One blank line keeps the number and the mark of the last one, so that nothing is written twice or before it."""
    (a, owner), (b, other), (c, third) = [await owned(store) for _ in range(3)]
    old = parts(a, b"first", b"the last one", owner=owner)
    await journal.write(old)
    await journal.write(parts(b, b"of one that is open", owner=other))
    await journal.write(parts(c, b"of one that has just ended", owner=third))
    await journal.put(lines(a, "logged"), keep=1)
    at, later = await ended(store, a, owner), await ended(store, c, third)
    places = [(one.instance_id, one.life) for one in (a, b, c, start())]

    assert 0 == await journal.empty(places, ended_until=at - 1, blank=b"-")
    assert 0 == await journal.empty([(a.instance_id, a.life + 1)], ended_until=at, blank=b"-")
    assert 0 == await journal.empty([], ended_until=at, blank=b"-")
    assert 1 == await journal.empty(places, ended_until=min(at, later - 1), blank=b"-")
    assert 0 == await journal.empty(places, ended_until=min(at, later - 1), blank=b"-"), "it is empty"

    assert [(6, b"-", old[-1].mark)] == [
        (line.number, line.body, line.mark) for line in await journal.written(a.instance_id, a.life)
    ]
    assert [b"of one that is open"] == await bodies(journal, b)
    assert [b"of one that has just ended"] == await bodies(journal, c)
    assert ["logged"] == await texts(journal, a)
    assert old == (await journal.write(old)).refused or [b"-"] == await bodies(journal, a), "sent again, late"
    assert 1 == await journal.empty(places, ended_until=later, blank=b"-")
    assert [b"-"] == await bodies(journal, c)


async def test_the_last_line_of_a_stream_stays_so_that_numbers_go_on_behind_it(store: Store, journal: Journal) -> None:
    upkeep = services_with(Service.UPKEEP, store).upkeep
    a, owner = await owned(store)
    old = parts(a, b"first", b"last", owner=owner)
    await journal.write(old)
    again = append(a, 2, change=change(Status.RUNNING, run_from=2))
    assert [Outcome.ACCEPTED] == await store.commit([again], worker=owner)

    await upkeep.prune(PruneRequest())

    assert [b"last"] == await bodies(journal, a)
    assert ([], {a.instance_id: 4}) == (await journal.write(old))[:2], "sent again, late"
    assert ([], {a.instance_id: 7}) == (await journal.write(parts(a, b"new", owner=owner)))[:2]
    assert [(6, b"last"), (10, b"new")] == [
        (line.number, line.body) for line in await journal.written(a.instance_id, a.life)
    ]
