"""Leases at their edge: a worker stops before another one may begin its work, also when heartbeats are slow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from romancy import WorkflowContext, activity, workflow
from romancy_conformance.simulation.named.scene import did

if TYPE_CHECKING:
    from romancy.storage.records import Worker
    from romancy.testing.simulating.worker import Worker as SimulatedWorker
    from romancy_conformance.simulation.named.scene import Scene

__all__ = ["WORKFLOWS", "late_answer", "late_heartbeat", "late_question"]

_MANY = 150
_LEASE = 9.0
"""Of a worker whose heartbeat may be answered late, and who has not lost its lease then."""


@activity
async def part(number: int) -> int:
    did(f"part {number}")
    await asyncio.sleep(0.2)
    return number


@workflow
async def parts(ctx: WorkflowContext) -> int:
    """Its parts wait for slots: they begin without another append."""
    return sum(await asyncio.gather(*(part(number) for number in range(_MANY))))


WORKFLOWS = (parts,)


class _Slow:
    """Makes the next heartbeat of a worker slow, on one of its ways."""

    def __init__(self) -> None:
        self.is_armed = False
        self.asking = self.answer = 0.0
        self.sent = 0
        """How many slow ones have been sent."""
        self.answered = 0
        """How many heartbeats have been answered since."""

    def alters(self, store: Any) -> None:
        heartbeat = store.heartbeat

        async def slow(*args: Any) -> Any:
            asking, answer = (self.asking, self.answer) if self.is_armed else (0.0, 0.0)
            self.sent += self.is_armed
            self.is_armed = False
            await asyncio.sleep(asking)
            pulse = await heartbeat(*args)
            self.answered += 1
            await asyncio.sleep(answer)
            return pulse

        store.heartbeat = slow


class _Taken:
    """Notes when a worker has taken instances over."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.at: float | None = None

    def alters(self, store: Any) -> None:
        takeover = store.takeover

        async def noted(*args: Any) -> Any:
            answer = await takeover(*args)
            if answer.moved:
                self.at = self._scene.now
            return answer

        store.takeover = noted


def _judge(scene: Scene, owner: SimulatedWorker, taken: _Taken) -> None:
    assert taken.at is not None
    late = [effect for effect in scene.effects if effect.process == owner.process.name and effect.at > taken.at]
    if late:
        until = f"up to {late[-1].at - taken.at:.3f} s after its work was taken over"
        scene.find("astray", late[0].instance, f"{owner.process.name} began {len(late)} parts {until}")


async def late_answer(scene: Scene) -> None:
    """The answer to a heartbeat is late, and then the worker is cut off: its lease counts from when it asked."""
    slow, taken = _Slow(), _Taken(scene)
    slow.answer = scene.chance.uniform(5.0, 5.8)
    await scene.app.start(parts.options(instance_id="parts"))
    owner = scene.worker("a", WORKFLOWS, machine=0, alters=slow.alters, max_activities=1, lease=_LEASE)
    await scene.until(lambda: len(scene.effects) > 3, "the work of a")
    scene.worker("b", WORKFLOWS, machine=1, alters=taken.alters, lease=_LEASE)
    await asyncio.sleep(scene.chance.uniform(2.0, 3.0))
    slow.is_armed, before = True, slow.answered
    await scene.until(lambda: bool(slow.sent) and slow.answered > before, "the slow heartbeat")
    await asyncio.sleep(slow.answer + 0.01)
    owner.cut_off()
    await scene.until(lambda: taken.at is not None, "the takeover by b")
    await asyncio.sleep(5.0)
    _judge(scene, owner, taken)


async def late_question(scene: Scene) -> None:
    """A watcher's heartbeat is slow, and the watched worker renews its lease meanwhile, for the last time."""
    slow, taken = _Slow(), _Taken(scene)
    slow.asking = 0.7
    beats: list[float] = []

    def noted(store: Any) -> None:
        heartbeat = store.heartbeat

        async def beat(*args: Any) -> Any:
            sent = scene.now
            pulse = await heartbeat(*args)
            beats.append(sent)
            return pulse

        store.heartbeat = beat

    def both(store: Any) -> None:
        slow.alters(store)
        taken.alters(store)

    await scene.app.start(parts.options(instance_id="parts"))
    owner = scene.worker("a", WORKFLOWS, machine=0, alters=noted, max_activities=1)
    await scene.until(lambda: len(scene.effects) > 3, "the work of a")
    scene.worker("b", WORKFLOWS, machine=1, alters=both)
    await asyncio.sleep(scene.chance.uniform(2.0, 3.0))
    slow.is_armed = True
    await scene.until(lambda: bool(slow.sent), "the slow heartbeat of b")
    before = len(beats)
    await scene.until(lambda: len(beats) > before, "a heartbeat of a")
    owner.cut_off()
    await scene.until(lambda: taken.at is not None, "the takeover by b")
    await asyncio.sleep(5.0)
    _judge(scene, owner, taken)


async def late_heartbeat(scene: Scene) -> None:
    """A worker dies, and the next one of its name begins elsewhere. Then the last heartbeat of the dead one arrives."""
    told: list[Worker] = []

    def noted(store: Any) -> None:
        heartbeat = store.heartbeat

        async def beat(worker: Worker) -> Any:
            told.append(worker)
            return await heartbeat(worker)

        store.heartbeat = beat

    await scene.app.start(parts.options(instance_id="parts"))
    old = scene.worker("old", WORKFLOWS, machine=0, alters=noted, max_activities=1, worker_id="local")
    await scene.until(lambda: len(scene.effects) > 3, "the work of old")
    old.kill()
    last, before = told[-1], len(told)
    new = scene.worker("new", WORKFLOWS, machine=1, alters=noted, worker_id="local")
    await scene.until(lambda: len(told) > before + 1, "the second heartbeat of new")
    await scene.reads.heartbeat(last)
    await asyncio.sleep(scene.chance.uniform(10.0, 20.0))
    if new.process.is_dead or "new" not in {effect.process for effect in scene.effects}:
        scene.find("crew", "parts", "the next worker of its name took the dead one for a living one, and gave up")
