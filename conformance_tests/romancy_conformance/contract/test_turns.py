"""Of those that wait for a worker, the lines of fair keys take turns, and what waits in none is one line more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.records import ClaimRequest
from romancy_conformance.contract.building import Actor, append, change, start, unique
from romancy_conformance.contract.plans import watch_for

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio


class Claimer:
    """Claims for a worker, whose turns go on where the last claim has stopped."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.turns: dict[int, tuple[str, int]] = {}
        self.lines: dict[str, str] = {}
        """The lines of the instances that wait."""

    async def write(self, *lines: str, **fields: Any) -> None:
        """Commit starts that wait in these lines, in this order."""
        names = [*self.actor.workflows]
        items = [
            start(workflow_name=names[number % len(names)], fair_line=line, **fields)
            for number, line in enumerate(lines)
        ]
        self.lines |= {item.instance_id: line for item, line in zip(items, lines, strict=True)}
        for first in range(0, len(items), 500):
            assert {"accepted"} == set(await self.actor.store.commit(items[first : first + 500]))

    async def claim(self, limit: int) -> str:
        """The lines of what a claim brings, in this order."""
        request = ClaimRequest(worker=self.actor.token, codes=self.actor.workflows, limit=limit, turns=self.turns)
        work = await self.actor.store.claim(request)
        self.turns = work.turns or self.turns
        return "".join(self.lines.pop(one.instance_id) or "-" for one in work.claimed)


@pytest.fixture
def claimer(actor: Actor) -> Claimer:
    return Claimer(actor)


async def test_lines_take_turns(claimer: Claimer) -> None:
    await claimer.write(*"aaaaabbc")

    assert [await claimer.claim(1) for _ in range(9)] == ["a", "b", "c", "a", "b", "a", "a", "a", ""]


async def test_what_waits_in_no_line_is_one_line_more(claimer: Claimer) -> None:
    await claimer.write("", "", "", "a", "a", "b")

    assert [await claimer.claim(1) for _ in range(7)] == ["-", "a", "b", "-", "a", "-", ""]


async def test_the_last_of_all_keys_has_its_turn(claimer: Claimer) -> None:
    last = "\U0010ffff" * 50
    await claimer.write(last, f"{last}\x1f1", "a")

    assert [await claimer.claim(1) for _ in range(4)] == ["a", last, f"{last}\x1f1", ""]


async def test_a_claim_of_many_gives_each_line_its_share(claimer: Claimer) -> None:
    await claimer.write(*"a" * 100, *"bbcccdddd")

    found = await claimer.claim(40)

    assert sorted(found) == sorted("a" * 31 + "bbcccdddd")
    assert await claimer.claim(100) == "a" * 69


async def test_what_a_claim_cuts_short_goes_on_in_the_next(claimer: Claimer) -> None:
    await claimer.write(*"a" * 100, *"b" * 100, *"c" * 100)

    taken = "".join([await claimer.claim(10) for _ in range(9)])

    assert {line: taken.count(line) for line in "abc"} == {"a": 30, "b": 30, "c": 30}


async def test_of_one_line_the_longest_due_goes_first(actor: Actor, store: Store) -> None:
    items = [start(workflow_name=next(iter(actor.workflows)), fair_line="a") for _ in range(5)]
    for item in items:
        assert await actor.write(item) == "accepted"

    assert [one.instance_id for one in await actor.claim(5)] == [item.instance_id for item in items]


async def test_a_line_goes_over_workflows(store: Store) -> None:
    actor = await Actor(store, workflows={unique("flow"): "c1", unique("flow"): "c1"}).register()
    claimer = Claimer(actor)
    await claimer.write(*"aaaabbbbcc")

    assert [await claimer.claim(1) for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]
    assert await claimer.claim(9) == "aabb"


async def test_what_nobody_here_can_run_holds_up_nothing(claimer: Claimer, store: Store) -> None:
    assert set(await store.commit([start(workflow_name=unique("other"), fair_line="a") for _ in range(9)])) == {
        "accepted"
    }
    await claimer.write("", "", "b")

    assert sorted(await claimer.claim(9)) == ["-", "-", "b"]


async def test_the_higher_priority_goes_first(claimer: Claimer) -> None:
    await claimer.write("a", "a", "b", priority=0)
    await claimer.write("b", "c", "c", "", priority=2)

    assert [await claimer.claim(1) for _ in range(8)] == ["-", "b", "c", "c", "a", "b", "a", ""]


async def test_what_was_claimed_waits_in_no_line(claimer: Claimer, store: Store) -> None:
    item = start(workflow_name=next(iter(claimer.actor.workflows)), fair_line="b")
    assert await claimer.actor.write(item) == "accepted"
    assert [one.instance_id for one in await claimer.actor.claim(5)] == [item.instance_id]
    rests = append(item, 2, after=item.writer, change=change(Status.RUNNING, release=True, wake_at=0))
    assert await claimer.actor.write(rests) == "accepted"
    found = await store.read(item.instance_id, limit=0)
    assert found is not None
    assert found.instance.fair_line == ""

    claimer.lines[item.instance_id] = ""
    await claimer.write(*"aac")

    assert [await claimer.claim(1) for _ in range(4)] == ["-", "a", "c", "a"]


async def test_it_is_read_with_the_instance(actor: Actor, store: Store) -> None:
    item = start(workflow_name=next(iter(actor.workflows)), fair_line="acme\x1f1")
    assert await actor.write(item) == "accepted"

    found = await store.read(item.instance_id, limit=0)

    assert found is not None
    assert found.instance.fair_line == "acme\x1f1"


async def test_one_that_was_changed_before_its_first_claim_is_claimed_later(claimer: Claimer, store: Store) -> None:
    item = start(workflow_name=next(iter(claimer.actor.workflows)), fair_line="a")
    assert await claimer.actor.write(item) == "accepted"
    asleep = append(item, 2, after=item.writer, change=change(Status.RUNNING, release=True, wake_at=None))
    assert await claimer.actor.write(asleep) == "accepted"
    asked = ClaimRequest(worker=claimer.actor.token, codes=claimer.actor.workflows, limit=2)
    assert (await store.claim(asked)).claimed == []

    work = await store.claim(replace(asked, sweep=True))

    assert [one.instance_id for one in work.claimed] == [item.instance_id]


async def test_a_child_stands_in_its_line(claimer: Claimer, store: Store) -> None:
    begun = await claimer.actor.begin()
    name = next(iter(claimer.actor.workflows))
    children = [start(workflow_name=name, fair_line=line, parent=begun.instance_id) for line in "aab"]
    claimer.lines |= {child.instance_id: line for child, line in zip(children, "aab", strict=True)}
    item = append(begun, 2, change=change(), starts=tuple(children))
    assert await claimer.actor.write(item) == "accepted"

    assert [await claimer.claim(1) for _ in range(3)] == ["a", "b", "a"]


async def test_a_worker_that_leaves_a_line_to_others_looks_again(claimer: Claimer, store: Store) -> None:
    await claimer.write("a", code="old")
    asked = ClaimRequest(worker=claimer.actor.token, codes=claimer.actor.workflows, limit=1, leave=("old",))

    work = await store.claim(asked)

    assert work.claimed == []
    assert work.next_due is not None
    assert work.next_due <= work.now + 1_000_000


async def test_a_claim_without_turns_says_nothing_of_them(claimer: Claimer, store: Store) -> None:
    await claimer.write("", "")

    work = await store.claim(ClaimRequest(worker=claimer.actor.token, codes=claimer.actor.workflows, limit=9))

    assert (len(work.claimed), work.turns) == (2, {})


async def test_many_keys_are_all_reached(claimer: Claimer) -> None:
    """More lines than a claim looks at, each with one that waits."""
    lines = [f"key {number:03}" for number in range(300)]
    await claimer.write(*lines)

    sizes = [len((await claimer.claim(64)).split("key ")[1:]) for _ in range(6)]

    assert sizes == [64, 64, 64, 64, 44, 0]


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_small_keys_wait_no_longer_than_without_one_with_100_000(storage_url: str) -> None:
    """Not twice as long, and a claim looks at no more rows than with few."""
    watch = watch_for(storage_url)
    with watch.on():
        store = create_store(storage_url)
        await store.open()
        claimer = Claimer(await Actor(store, workflows={unique("flow"): "c1"}).register())
        await claimer.write(*["large"] * 100_000)
        small = [f"small {number:02}" for number in range(20)] * 50
        await claimer.write(*small)
        await watch.analyze(store)
        cost = await watch.cost(store, claimer.claim(100))
        taken = 100
        while any(line != "large" for line in claimer.lines.values()):
            await claimer.claim(100)
            taken += 100
        await store.close()

    assert cost.rows < ENOUGH, f"{cost.rows}: {cost.plan}"
    assert taken <= 1.2 * len(small)


ENOUGH = 4_000
"""Rows that a claim of a hundred may look at: some for each that it takes."""
BIG, SMALL, EACH = 3_000, 20, 5
FEW = 700
"""More rows than a claim of two looks at, and fewer than there are."""


async def test_a_claim_among_many_looks_at_few_rows(storage_url: str) -> None:
    """Before and after the database has statistics, of plain starts alone and of one large key beside small ones."""
    watch = watch_for(storage_url)
    with watch.on():
        store = create_store(storage_url)
        await store.open()
        await watch.leave_uncounted()
        actor = await Actor(store, workflows={unique("flow"): "c1", unique("flow"): "c1"}).register()
        claimer = Claimer(actor)
        await claimer.write(*["b"] * BIG)
        await claimer.write(*[""] * BIG)
        await claimer.write(*[f"small {number}" for number in range(SMALL)] * EACH)
        new = [await watch.cost(store, claimer.claim(limit)) for limit in (2, 10)]
        await watch.analyze(store)
        known = [await watch.cost(store, claimer.claim(limit)) for limit in (2, 10)]
        await store.close()

    for cost in (*new, *known):
        assert cost.rows < FEW, f"{cost.rows}: {cost.plan}"
