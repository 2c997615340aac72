"""What a worker hands back: nothing that has begun, that it runs soon, or with which a worker has died."""

# The portions of a worker are looked at one by one.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from romancy.engine.activities.places import Kind
from romancy.engine.slot import FREE, GATHERING, TAKEN
from romancy.engine.worker import handing_over
from romancy.engine.worker.handing_over import HandingOver, is_untouched
from romancy.engine.worker.known_workflows import names_told, room_told

pytestmark = pytest.mark.anyio

DUE = 1000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def queued() -> Any:
    return SimpleNamespace(task=None, waits_since=1.0, ending=False)


def running() -> Any:
    return SimpleNamespace(task="task", waits_since=0.0, ending=False)


def instance(instance_id: str, *attempts: Any, head: int = 1, code: str = "c1", **fields: Any) -> Any:
    run = SimpleNamespace(remembers=False, state=SimpleNamespace(joining=(), time=DUE))
    given: dict[str, Any] = {
        "inputs": [],
        "lazy": {},
        "holder": None,
        "wanting": {},
        "returning": {},
        "reviving": (),
        "moves": None,
    }
    return SimpleNamespace(
        **given
        | {
            "instance_id": instance_id,
            "attempts": dict(enumerate(attempts)),
            "slot": FREE,
            "run": run,
            "run_from": 1,
            "head": head,
            "due": 0,
            "definition": SimpleNamespace(name="flow", code=code),
        }
        | fields
    )


def peer(room: int, code: str = "c1", name: str = "flow", *, dead: bool = False) -> Any:
    return SimpleNamespace(dead=dead, codes=(code, *names_told([name]), room_told([100, room, room, room])))


def _loop(_: str) -> Kind:
    return Kind.LOOP


class World:
    """A worker with these instances and peers, which has handed some of them over."""

    def __init__(self, *lives: Any, peers: list[Any], soon: int = 0) -> None:
        self.live = {live.instance_id: live for live in lives}
        self.given: list[str] = []
        self.row: Any = None
        self.bereft: dict[str, int] = {}
        leases = SimpleNamespace(peers=peers, notices=[], fresh=lambda: True)
        stock = SimpleNamespace(look=bool, kind=_loop, in_a_second={Kind.LOOP: soon}.__getitem__)
        self.attempts = SimpleNamespace(waits_for_place=set[object]().__contains__, given_up=(), forget_stopped=bool)
        world, keeper = cast("Any", self), cast("Any", SimpleNamespace(leases=leases))
        self.handing_over = HandingOver(world, world, cast("Any", stock), keeper, self.bereft)

    def release(self, live: Any, *, unfinished: bool) -> None:
        assert unfinished
        self.given.append(live.instance_id)
        del self.live[live.instance_id]

    async def read(self, instance_id: str, *, limit: int) -> Any:
        assert limit == 0
        return SimpleNamespace(instance=self.row)

    async def portion(self) -> list[str]:
        before = len(self.given)
        await self.handing_over._hand_some_over()
        return self.given[before:]


def backlog(count: int, **fields: Any) -> list[Any]:
    return [instance(f"i{number:02}", queued(), **fields) for number in range(count)]


@pytest.mark.parametrize(
    ("fields", "untouched"),
    [
        ({}, True),
        ({"slot": TAKEN}, False),
        ({"slot": GATHERING}, False),
        ({"inputs": [1]}, False),
        ({"lazy": {"a": None}}, False),
        ({"holder": "port"}, False),
        ({"wanting": {"port": 1}}, False),
        ({"returning": {"m": 1}}, False),
        ({"reviving": (1,)}, False),
    ],
)
def test_what_is_under_way_stays(fields: dict[str, Any], *, untouched: bool) -> None:
    world = World(peers=[])

    assert is_untouched(instance("i", queued(), **fields), cast("Any", world.attempts)) is untouched
    assert not is_untouched(instance("i", queued(), running(), **fields), cast("Any", world.attempts))


def test_an_instance_stays_while_what_it_has_given_up_runs_here() -> None:
    world, mine = World(peers=[]), instance("i", queued())
    world.attempts.given_up = (SimpleNamespace(live=instance("j", queued())), SimpleNamespace(live=mine))

    assert not is_untouched(mine, cast("Any", world.attempts))
    assert is_untouched(instance("k", queued()), cast("Any", world.attempts))


async def test_the_first_portion_is_what_peers_have_room_for_and_no_more_than_half() -> None:
    assert len(await World(*backlog(40), peers=[peer(3), peer(4), peer(90, dead=True)]).portion()) == 7
    assert len(await World(*backlog(9), peers=[peer(90)]).portion()) == 4
    assert await World(*backlog(9), peers=[peer(0)]).portion() == []
    assert await World(*backlog(9), peers=[peer(9)], soon=8).portion() == []


async def test_only_to_workers_that_all_run_this_version() -> None:
    assert await World(*backlog(9), peers=[peer(9, "c2")]).portion() == []
    assert await World(*backlog(9), peers=[peer(9), peer(9, "c2")]).portion() == []
    assert await World(*backlog(9), peers=[peer(9, name="other")]).portion() == []
    assert len(await World(*backlog(9), peers=[peer(2), peer(0, "c2", "other")]).portion()) == 2


async def test_short_logs_first_and_of_these_what_would_run_last() -> None:
    lives = [*backlog(4), *(instance(f"long{number}", queued(), head=9) for number in range(4))]

    assert await World(*lives, peers=[peer(2)]).portion() == ["i03", "i02"]


async def test_the_next_portion_follows_when_the_last_one_was_taken() -> None:
    world = World(*backlog(60), peers=[peer(4)])
    assert len(await world.portion()) == 4
    world.row = SimpleNamespace(owner=None, wake_at=DUE)
    assert await world.portion() == []
    assert await world.portion() == []
    world.row = SimpleNamespace(owner="other", wake_at=None)
    assert len(await world.portion()) == 2, "it was not taken at once"
    assert len(await world.portion()) == 4, "it was taken at once"


async def test_what_a_worker_died_with_stays_until_its_log_grows() -> None:
    world = World(*backlog(4), peers=[peer(9)])
    world.bereft |= dict.fromkeys(world.live, 1) | {"gone": 1}
    assert await world.portion() == []
    assert "gone" not in world.bereft
    for live in world.live.values():
        live.head = 2
    assert len(await world.portion()) == 2


async def test_what_is_tried_stays_until_its_log_grows() -> None:
    """A hand-back would end its trial, and would hide that it may have killed workers."""
    world = World(*backlog(4), peers=[peer(9)])
    for live in world.live.values():
        live.moves = asyncio.Event()
    assert await world.portion() == []
    for live in world.live.values():
        live.moves.set()
    assert len(await world.portion()) == 2


@pytest.mark.parametrize("turns", range(8))
async def test_it_ends_although_a_worker_comes_when_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """`asyncio.wait_for` of Python 3.11 loses a cancellation that comes beside the end of what it waits for."""
    monkeypatch.setattr(handing_over, "_LOOK", 0.0)
    met = asyncio.Event()

    async def meet() -> None:
        met.set()

    leases = SimpleNamespace(token="mine", peers=(), notices=(), meet=meet)
    keeper: Any = SimpleNamespace(leases=leases)
    handing = HandingOver(cast("Any", None), cast("Any", None), cast("Any", None), keeper, {})
    task = asyncio.ensure_future(handing.run())
    handing.workers_came(["another"])
    await met.wait()
    for _ in range(20):
        await asyncio.sleep(0)  # until it waits for the next worker

    handing.workers_came(["one more"])
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()

    assert {task} == (await asyncio.wait([task], timeout=5))[0]
