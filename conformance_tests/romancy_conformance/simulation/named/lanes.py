"""Places under limits: none is idle while somebody waits for it, except between its owner's death and the takeover."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from romancy import Limit, WorkflowContext, activity, workflow
from romancy.core import decode_commit
from romancy.status import TERMINAL_STATUSES, Status
from romancy.testing.simulating.world import SECOND
from romancy_conformance.chaos.judge import read_log
from romancy_conformance.lane_use import Demand, Use, demands_in, use_of
from romancy_conformance.simulation.named.scene import did

if TYPE_CHECKING:
    from romancy import Workflow
    from romancy.testing.simulating.worker import Worker
    from romancy_conformance.simulation.named.scene import Scene

__all__ = ["WORKFLOWS", "death_before_a_dispatch", "full_lanes"]

_LEAST: Final = 0.9
"""Which share of what the limits allow has to be used."""
_WORKERS: Final = 8
_SOAK: Final = bool(os.environ.get("ROMANCY_SOAK"))
_KEYS, _EACH, _KILLS, _STEPS = (50, 40, 1000, 8) if _SOAK else (15, 12, 40, 1)
"""With `ROMANCY_SOAK`, 2,000 workflows and 1,000 deaths."""
_SECONDS: Final = 2.0
_LEASE: Final = 3.0
_FROZEN: Final = 0.2
"""The share of harmed workers that stand still instead, and are taken for dead."""
_MOST: Final = 5
_OPEN: Final = tuple({*Status} - TERMINAL_STATUSES)


@activity
async def worked(key: str, seconds: float) -> int:
    did("begins")
    await asyncio.sleep(seconds)
    return 1


async def _steps(ctx: WorkflowContext, key: str, steps: int) -> int:
    return sum([await worked(key, _SECONDS) for _ in range(steps)])


def _whole(allowed: int) -> Workflow[[str, int], int]:
    limit = Limit(f"whole {allowed}", key="key", concurrency=allowed)
    return workflow(name=f"lanes_whole_{allowed}", limits=[limit])(_steps)


def _calls(allowed: int) -> Workflow[[str, int], int]:
    def key_of(key: str, seconds: float) -> str:
        return key

    limit = Limit(f"calls {allowed}", key=key_of, concurrency=allowed)

    @activity(name=f"lanes_call_{allowed}", limits=[limit])
    async def call(key: str, seconds: float) -> int:
        done: int = await worked.fn(key, seconds)
        return done

    @workflow(name=f"lanes_calls_{allowed}")
    async def body(ctx: WorkflowContext, key: str, steps: int) -> int:
        return sum([await call(key, _SECONDS) for _ in range(steps)])

    return body


def _section(allowed: int) -> Workflow[[str, int], int]:
    limit = Limit(f"section {allowed}", concurrency=allowed)

    @workflow(name=f"lanes_section_{allowed}")
    async def body(ctx: WorkflowContext, key: str, steps: int) -> int:
        async with ctx.limit(limit, key):
            return await _steps(ctx, key, steps)

    return body


WORKFLOWS: Final = tuple(kind(allowed) for kind in (_whole, _calls, _section) for allowed in range(1, _MOST + 1))


async def full_lanes(scene: Scene) -> None:
    """Eight workers are killed and frozen at random while all lanes are full."""
    ids = [f"{key}.{number}" for number in range(_EACH) for key in range(_KEYS)]
    await scene.app.start_many(
        [_flow(one).options(instance_id=one).bind(_key(one), _STEPS * _allowed(one)) for one in ids]
    )
    crew = _Crew(scene)
    for _ in range(_WORKERS):
        crew.hires()
    while crew.killed < _KILLS:
        await asyncio.sleep(scene.chance.uniform(0.2, 1.0))
        crew.loses_one()
    await _judge(scene, ids)


class _Crew:
    """Another worker takes the place of each that dies. Those that stand still go on after their lease."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._workers: list[Worker] = []
        self._frozen: dict[Worker, asyncio.Task[None]] = {}
        self._made = self.killed = 0

    def hires(self) -> None:
        self._made += 1
        self._workers.append(self._scene.worker(f"w{self._made}", WORKFLOWS, machine=self._made % 2, lease=_LEASE))

    def loses_one(self) -> None:
        victim = self._scene.chance.choice([one for one in self._workers if one not in self._frozen])
        if self._scene.chance.random() < _FROZEN and len(self._frozen) < 2:
            victim.freeze()
            self._frozen[victim] = asyncio.create_task(self._thaws(victim))
        else:
            self._workers.remove(victim)
            victim.kill()
            self.killed += 1
            self.hires()

    async def _thaws(self, victim: Worker) -> None:
        await asyncio.sleep(self._scene.chance.uniform(2, 3) * _LEASE)
        victim.thaw()
        del self._frozen[victim]


async def _judge(scene: Scene, ids: list[str]) -> None:
    """Compare with what the limits allow, once all have ended."""
    while (await scene.app.list_instances(status=_OPEN, limit=1)).instances:  # noqa: ASYNC110 - other processes work
        await asyncio.sleep(1.0)
    lanes = defaultdict[str, list[Demand]](list)
    begins = defaultdict[str, dict[str, int]](dict)
    for effect in scene.effects:
        at = round(effect.at * SECOND) + scene.cluster.world.began
        begins[effect.instance].setdefault(effect.activity, at)
    for one in ids:
        found = await read_log(scene.reads, one)
        assert found is not None
        rows = [(row.at, decode_commit(row.body)) for row in found[1]]
        lanes[_key(one)] += demands_in(rows, begins[one].values())
    uses = {key: use_of(lane, _allowed(key)) for key, lane in lanes.items()}
    total = sum(uses.values(), Use())
    told = (
        f"{total.share:.1%} of what the limits allow was used, {min(one.share for one in uses.values()):.0%} at least"
    )
    scene.cluster.world.note("lanes", "used", told)
    if total.share < _LEAST:
        scene.find("idle", "all lanes", told)


async def death_before_a_dispatch(scene: Scene) -> None:
    """A worker dies after the commit that gives a place back, and before the dispatch that gives it to the next one."""
    dying: list[Worker] = []

    def dies(store: Any) -> None:
        dispatch = store.services.router.dispatch

        async def never(addresses: Any) -> Any:
            if addresses and scene.effects:
                dying[0].kill()
                await asyncio.sleep(0)  # it has no other turn
            return await dispatch(addresses)

        store.services.router.dispatch = never

    flow = WORKFLOWS[0]
    ids = ["0.0", "0.1"]
    await scene.app.start(flow.options(instance_id=ids[0]), "0", 1)
    dying.append(scene.worker("a", WORKFLOWS, machine=0, alters=dies, lease=_LEASE, max_live=1))
    await scene.until(lambda: bool(scene.effects), "the work of a")
    scene.worker("b", WORKFLOWS, machine=1, lease=_LEASE)
    await scene.app.start(flow.options(instance_id=ids[1]), "0", 1)
    await dying[0].is_over.wait()
    died = scene.now
    await scene.until(lambda: any(each.process == "b" for each in scene.effects), "the work of b", most=120.0)
    took = scene.effects[-1].at - died
    if took > 3 * _LEASE:
        scene.find("idle", ids[1], f"the place was given {took:.1f} s after the death of who had it")


def _key(instance_id: str) -> str:
    return instance_id.partition(".")[0]


def _flow(instance_id: str) -> Workflow[[str, int], int]:
    return WORKFLOWS[int(_key(instance_id)) % len(WORKFLOWS)]


def _allowed(instance_id: str) -> int:
    return 1 + int(_key(instance_id)) % _MOST
