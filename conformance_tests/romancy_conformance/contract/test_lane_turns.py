"""The lines of a lane take turns at its places, and nothing of them is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.core import PlaceAsked
from romancy.engine.places import Asks, demand_of, marks
from romancy.status import Status
from romancy.storage.routing import address_held_at, address_of_lane
from romancy_conformance.contract.building import nonce, start, unique

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio


class Line:
    """Demands at one lane, which get its places one after the other."""

    def __init__(self, store: Store, **terms: Any) -> None:
        self.store = store
        self.limit = unique("limit")
        self.lane = address_of_lane(self.limit, "")
        self.terms: dict[str, Any] = terms or {"concurrency": 1}
        self.keys: dict[str, str] = {}

    async def ask(self, *keys: str, **fields: Any) -> None:
        """Each for an instance of its own, in this order."""
        for key in keys:
            id = unique("place")
            asked = PlaceAsked(id=id, limit=self.limit, fair_key=key, **{**self.terms, **fields})
            self.keys[id] = key
            item = start(status=Status.WAITING, interests=(demand_of(asked),))
            assert ["accepted"] == await self.store.commit([item])

    async def given(self, asks: Asks = Asks.NOTHING) -> list[str]:
        """The keys of those that a dispatch lets in, and which leave at once."""
        await self.mark(asks)
        await self.store.services.router.dispatch([self.lane])
        return await self.leave()

    async def mark(self, asks: Asks = Asks.NOTHING) -> None:
        await self.store.services.router.post(marks({self.lane: asks}, nonce))

    async def leave(self) -> list[str]:
        """All that are inside."""
        router = self.store.services.router
        inside = await router.interests(address_held_at(self.lane))
        for owner, one in inside:
            await router.unregister(owner, [one.interest_id])
        return [self.keys[one.interest_id] for _, one in inside]

    async def order(self, count: int, asks: Asks = Asks.NOTHING) -> list[str]:
        return [key for _ in range(count) for key in await self.given(asks)]


async def test_a_key_with_few_waits_its_own_number_of_turns(store: Store) -> None:
    line = Line(store)
    await line.ask(*["large"] * 30, *["a", "b"] * 3)

    order = await line.order(36)

    assert {key: order[:9].count(key) for key in ("large", "a", "b")} == {"large": 3, "a": 3, "b": 3}
    assert ["large"] * 27 == order[9:]


async def test_turns_go_on_with_who_comes_later_and_with_those_without_a_key(store: Store) -> None:
    line = Line(store)
    await line.ask("", "", "a", "a", "c", "c")
    first = await line.order(2)
    await line.ask("b", "b")

    assert ["", "a"] == first
    assert ["b", "c", "", "a", "b", "c"] == await line.order(6)


async def test_of_several_free_places_each_key_gets_its_share(store: Store) -> None:
    line = Line(store, concurrency=6)
    await line.ask(*["large"] * 20, *["a", "b"] * 2, "")

    assert {"large": 1, "a": 2, "b": 2, "": 1} == _counts(await line.given())
    assert {"large": 6} == _counts(await line.given())


async def test_more_places_than_a_round_are_given_to_all_that_wait(store: Store) -> None:
    line = Line(store, concurrency=30)
    await line.ask(*["a"] * 11, *[""] * 11, *["b"] * 7)

    assert {"a": 11, "": 11, "b": 7} == _counts(await line.given())
    assert [] == await line.given()


async def test_the_higher_priority_goes_first_whatever_its_key(store: Store) -> None:
    line = Line(store)
    await line.ask("a", "b", "", "a")
    await line.ask("a", "z", "z", priority=5)
    await line.ask("m", priority=2)

    order = await line.order(8)

    assert ["a", "z", "z", "m"] == order[:4]
    assert ["", "a", "b", "a"] == order[4:]


async def test_a_key_of_the_last_character_has_its_turn_in_each_priority(store: Store) -> None:
    line, last = Line(store, concurrency=3), "\U0010ffff" * 50
    await line.ask("a", last)
    await line.ask(last, priority=2)
    await line.ask("a", last, priority=5)

    assert {"a": 1, last: 2} == _counts(await line.given()), "none of the lowest priority"
    assert {"a": 1, last: 1} == _counts(await line.given())


async def test_who_needs_more_units_than_are_free_is_not_overtaken_in_its_turn(store: Store) -> None:
    line = Line(store, concurrency=2)
    await line.ask("a")
    await line.ask("b", units=2)
    await line.ask("a", "a")

    assert [["a"], ["b"], ["a", "a"]] == [await line.given() for _ in range(3)]


async def test_a_rate_is_kept_over_all_lines(store: Store) -> None:
    line = Line(store, rate=3, period=3_600_000_000)
    await line.ask("a", "a", "a", "b", "c")

    await line.mark()
    found = await store.services.router.dispatch([line.lane])

    assert [line.lane] == list(found.later), "a dispatch has to follow when the rate gives the next place"
    assert ["a", "b", "c"] == sorted(await line.leave())
    assert [] == await line.given()


async def test_those_that_make_room_for_a_newer_one_let_no_lower_priority_in(store: Store) -> None:
    line = Line(store)
    await line.ask("", "", full="cancel_running")
    await line.ask("low", priority=-1)
    await line.ask("", priority=-2)
    await line.ask("a", "b")

    order = await line.order(5, Asks.CANCELS)

    assert ["a", "b", "", "low", ""] == order


async def test_who_queues_in_a_line_goes_before_one_that_has_others_cancelled(store: Store) -> None:
    line = Line(store)
    await line.ask("", full="cancel_running")
    await line.mark(Asks.CANCELS)
    await store.services.router.dispatch([line.lane])
    ((holder, _),) = await store.services.router.interests(address_held_at(line.lane))
    await line.ask("a", priority=1)
    await line.ask("", full="cancel_running")

    await line.mark(Asks.CANCELS)
    await store.services.router.dispatch([line.lane])
    assert 1 == len(await store.services.lookups.lying(holder.name)), "the place alone"
    await line.leave()
    assert ["a"] == await line.given()


async def test_a_lane_with_many_keys_keeps_one_note(store: Store) -> None:
    line = Line(store)
    await line.ask(*[f"key {number:02}" for number in range(25)])
    before = await _rows(store)

    assert 25 == len(set(await line.order(25)))

    assert {**before, "notes": before["notes"] + 1} == await _rows(store) | {"lines": before["lines"]}
    assert [] == await store.services.lookups.lanes(line.lane, f"{line.lane}~", 100)


async def test_a_key_that_looks_like_a_line_is_a_lane_of_its_own(store: Store) -> None:
    line = Line(store)
    other = Line(store)
    other.limit = line.limit
    other.lane = address_of_lane(line.limit, "\x1fJa")
    await line.ask("a")

    assert [] == await other.given()
    assert ["a"] == await line.given()


async def _rows(store: Store) -> dict[str, int]:
    """How many notes of lanes there are, and how many demands."""
    lanes = store.services.lookups.lanes
    return {
        what: sum(count for _, count, _ in await lanes(f"{head}/", f"{head}0", 10_000))
        for what, head in (("notes", "b"), ("lines", "l"))
    }


def _counts(keys: Sequence[str]) -> dict[str, int]:
    return {key: keys.count(key) for key in keys}
