"""How much a worker takes: by free slots of each kind, by its rate, and by what was due of which workflows."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from romancy.engine.activities.places import Kind, Places
from romancy.engine.slot import FREE, TAKEN
from romancy.engine.surroundings import Surroundings
from romancy.engine.worker.backlog import Backlog
from romancy.engine.worker.stock import Stock

pytestmark = pytest.mark.anyio

LOOP, THREAD, PROCESS = (
    SimpleNamespace(is_async=True),
    SimpleNamespace(is_async=False, executor="thread"),
    SimpleNamespace(is_async=False, executor="process"),
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Slots:
    """The slots of a worker: free ones by kind, and all."""

    def __init__(self, **free: int) -> None:
        self._free = {Kind[name.upper()]: count for name, count in free.items()}
        self.waiting: set[object] = set()

    def free(self, kind: Kind) -> int:
        return self._free[kind]

    def limit(self, kind: Kind) -> int:
        return {Kind.LOOP: 1000, Kind.THREAD: 40, Kind.PROCESS: 2}[kind]

    def waits_for_place(self, task: object) -> bool:
        return task in self.waiting


class World:
    """A stock and the instances that it counts."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, slots: Slots, *, peers: bool = False, **named: list[Any]
    ) -> None:
        self.now = 100.0
        monkeypatch.setattr(Surroundings, "seconds", staticmethod(lambda: self.now))
        self.live: dict[str, Any] = {}
        self.attempts = slots
        own = {name: {str(each): each for each in definitions} for name, definitions in named.items()}
        registry = SimpleNamespace(own=own, workflows=dict.fromkeys(named))
        keeper = SimpleNamespace(leases=SimpleNamespace(peers=[None] * peers, has_peers=lambda: peers))
        self.beside = 0
        self.stock = Stock(cast("Any", self), cast("Any", registry), cast("Any", keeper), lambda: self.beside)

    def add(self, name: str, *attempts: Any, slot: Any = FREE) -> None:
        """An instance of this workflow with these attempts."""
        self.live[str(len(self.live))] = SimpleNamespace(
            definition=SimpleNamespace(name=name), attempts=dict(enumerate(attempts)), inputs=[], slot=slot
        )

    def seconds_until(self, due: int) -> float:
        return max(0.0, due - self.now)

    def room(self, kind: Kind) -> int:
        self.stock.look(anew=True)
        return self.stock.room(kind)


def queued(definition: Any = LOOP) -> Any:
    return SimpleNamespace(task=None, waits_since=1.0, ending=False, effect=SimpleNamespace(definition=definition))


def running(definition: Any = LOOP, task: object = "task") -> Any:
    return SimpleNamespace(task=task, waits_since=0.0, ending=False, effect=SimpleNamespace(definition=definition))


def later() -> Any:
    return SimpleNamespace(task=None, waits_since=0.0, ending=False, effect=SimpleNamespace(definition=LOOP))


def test_the_kind_is_that_of_the_scarcest_activity_in_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Slots(), a=[], b=[LOOP], c=[LOOP, THREAD], d=[THREAD, PROCESS])

    assert [Kind.NONE, Kind.LOOP, Kind.THREAD, Kind.PROCESS] == [world.stock.kind(name) for name in "abcd"]


def test_the_kind_is_learnt_from_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Slots(loop=5, thread=2), a=[])
    world.add("a", running(THREAD))

    assert world.room(Kind.THREAD) == 2
    assert world.stock.kind("a") is Kind.THREAD


def test_what_only_waits_or_runs_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Slots(loop=9), a=[LOOP])
    for attempts in ([], [running()], [running(), queued()], [later()]):
        world.add("a", *attempts)
    assert world.room(Kind.LOOP) == 9

    world.add("a", queued())
    world.add("a", slot=TAKEN)
    world.beside = 3
    assert world.room(Kind.LOOP) == 9 - 5


def test_who_waits_for_a_thread_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = Slots(loop=9, thread=4)
    world = World(monkeypatch, slots, a=[THREAD])
    slots.waiting.add("waits")
    world.add("a", running(THREAD, "waits"))
    world.add("a", running(THREAD, "runs"))

    assert world.room(Kind.THREAD) == 3


@pytest.mark.parametrize(("peers", "kept"), [(False, 20), (True, 5)], ids=["alone", "among peers"])
def test_the_stock_lasts_a_second_by_the_rate_of_the_last_two(
    monkeypatch: pytest.MonkeyPatch, kept: int, *, peers: bool
) -> None:
    world = World(monkeypatch, Slots(loop=2), peers=peers, a=[LOOP], b=[THREAD])
    room = world.room(Kind.LOOP)
    assert room == 2, "slots alone while no rate is known"
    for _ in range(8):
        world.now += 0.5
        world.stock.left["a"] += 10
        world.stock.left["b"] += 100
        room = world.room(Kind.LOOP)

    assert room == 2 + kept
    world.now += 60
    assert world.room(Kind.LOOP) == 2, "after a rest the rate is unknown"


def test_who_starts_takes_what_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Slots(loop=3), a=[LOOP])

    assert [True, True, True, False] == [world.stock.take("a") for _ in range(4)]


def backlog(world: World) -> Backlog:
    return Backlog(world.stock, cast("Any", world), dict.fromkeys("abc", "c1"))


def test_workflows_whose_slots_are_taken_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Slots(loop=50, thread=0), a=[], b=[LOOP], c=[THREAD])

    assert backlog(world).choose(100) == (50, {"a": "c1", "b": "c1"})
    assert backlog(world).choose(0) == (0, {"a": "c1", "b": "c1", "c": "c1"})


def test_the_kind_with_little_room_takes_turns_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Slots(loop=50, thread=2), a=[], b=[LOOP], c=[THREAD])
    claims = backlog(world)
    found: list[tuple[int, str]] = []
    for brings in (2, 50, 0, 2, 50, 2, 50):
        limit, names = claims.choose(100)
        found.append((limit, "".join(names)))
        claims.answered(limit, names, ["c" if "c" in names else "b"] * brings, 500)

    assert found[:3] == [(2, "abc"), (50, "ab"), (100, "a")]
    assert found[3:] == [(2, "abc"), (50, "ab"), (2, "abc"), (50, "ab")], "nothing is due of a"
    world.now = 500
    assert claims.choose(100) == (100, {"a": "c1"}), "now something may be"


def test_a_kind_of_which_nothing_is_due_bounds_few_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Slots(loop=1000, thread=2), b=[LOOP], c=[THREAD])
    claims = Backlog(world.stock, cast("Any", world), dict.fromkeys("bc", "c1"))
    limits: list[int] = []
    for _ in range(34):
        limit, names = claims.choose(100)
        claims.answered(limit, names, ["b"] * limit, None)
        limits.append(limit)

    assert [at for at, limit in enumerate(limits) if limit == 2] == [0, 3, 8, 17, 26]
    limit, names = claims.choose(100)
    claims.answered(limit, names, ["c"] * limit, None)


def test_nothing_more_is_asked_for_until_there_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Slots(loop=50, thread=0), a=[], b=[LOOP], c=[THREAD])
    claims = backlog(world)
    limit, names = claims.choose(100)
    assert claims.wants(anew=True)
    claims.answered(limit, names, ["b"] * (limit - 1), None)
    assert not claims.wants(anew=True), "of these nothing is due, and there is no room for the others"
    assert claims.may_have_more
    claims.news()
    assert claims.wants(anew=True)


def test_what_fell_due_while_there_was_no_room_for_anything_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Slots(loop=50), a=[], b=[], c=[])
    claims = backlog(world)
    claims.answered(*claims.choose(100), [], 500)
    assert not claims.may_have_more
    world.now = 500
    claims.choose(0)
    assert claims.may_have_more


async def test_places_tell_who_waits() -> None:
    places = Places(1)
    await places.acquire()
    waits = asyncio.ensure_future(places.acquire())
    await asyncio.sleep(0)
    assert (places.free, places.waiting) == (0, {waits})
    waits.cancel()
    await asyncio.wait({waits})
    assert (places.free, places.waiting) == (0, set())
    places.release()
    async with places:
        assert places.free == 0
    assert places.free == 1
