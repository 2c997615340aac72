"""Events sent `to=` an instance, to a subscriber outside of workflows, and in transactions that are rolled back.

Each of the numbers that an instance is sent arrives once, however often a call is repeated: its sender names each by an
id. What was sent, or started, in a transaction that is rolled back is never there. Half of the instances are sealed.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from romancy import (
    EventTimeoutError,
    EventType,
    InstanceEndedError,
    RetryPolicy,
    StorageUnavailableError,
    UsageError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy_conformance.chaos.stage import APPS

if TYPE_CHECKING:
    from romancy import Session
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Told"]

_NUMBER = EventType("shape-number", int)
_LOST = -1
"""What is sent only in transactions that are rolled back."""
_PATIENT = RetryPolicy.fixed(20, 0.01)


def _report(path: str) -> EventType[int]:
    """Return the type of what the instance tells its subscriber outside."""
    return EventType(f"shape-report-{path}", int)


@activity(retry=_PATIENT)
async def shape_reports(path: str, number: int, sealed: bool) -> int:  # noqa: FBT001 - stored input
    """Tell the subscriber outside, and start an instance, in the session of the attempt.

    The first attempt fails after that, so that its transaction is rolled back.
    """
    ctx = activity_context()
    session, first = await ctx.session(), ctx.attempt == 1
    try:
        await _report_and_start(ctx.instance_id, number, session, sealed=sealed, first=first)
    except UsageError as error:
        raise ConnectionError("the app closes while its activities end") from error
    if first:
        raise ConnectionError("the first attempt")
    return number


async def _report_and_start(path: str, number: int, session: Session, *, sealed: bool, first: bool) -> None:
    app = APPS.get()[sealed]
    await app.send(_report(path), _LOST if first else number, session=session)
    started = _STARTED[sealed].options(instance_id=f"{path}.{'lost' if first else 'kept'}{number}")
    await app.start_many([started.bind(number)], session=session)


async def _started(ctx: WorkflowContext, number: int) -> int:
    return number


async def _told(ctx: WorkflowContext, count: int, reports: list[int], sealed: bool) -> list[int]:  # noqa: FBT001
    """Receive so many numbers, and report some of them. Some waits time out."""
    heard: list[int] = []
    while len(heard) < count:
        try:
            number = (await ctx.wait_event(_NUMBER, timeout=0.05 if len(heard) % 3 else None)).data
        except EventTimeoutError:
            continue
        heard.append(number)
        if number in reports:
            await shape_reports(ctx.instance_id, number, sealed)
    return heard


_STARTED = {
    False: workflow(version="1", name="shape_started")(_started),
    True: workflow(version="1", name="shape_started_sealed")(_started),
}
_TOLD = {
    False: workflow(version="1", name="shape_told")(_told),
    True: workflow(version="1", name="shape_told_sealed")(_told),
}


class Told:
    """An instance is told numbers, and tells a subscriber outside some of them."""

    def __init__(self, *, sealed: bool) -> None:
        self.name = "told-sealed" if sealed else "told"
        self.sealed = sealed
        self.workflows: tuple[Any, ...] = (_TOLD[sealed], _STARTED[sealed])

    async def play(self, scene: Scene) -> None:
        """Send all numbers in their order, some twice, and compare what arrived."""
        chance, path = scene.chance, scene.path
        numbers = list(range(1, chance.randint(4, 9)))
        reports = sorted(chance.sample(numbers, chance.randint(1, 2)))
        begun = asyncio.Event()
        came = asyncio.create_task(self._subscribe(scene, len(reports), begun))
        await begun.wait()
        await scene.start(_TOLD[self.sealed].options(instance_id=path).bind(len(numbers), reports, self.sealed))
        for number in numbers:
            for _ in range(chance.choice((1, 1, 2))):
                try:
                    await scene.insist(partial(scene.app.send, _NUMBER, number, to=path, id=f"{path}-{number}"))
                except InstanceEndedError:
                    if number != numbers[-1]:
                        scene.find("wrong", f"it had ended before it was told {number}")
            await asyncio.sleep(chance.choice((0.0, 0.02, 0.06)))
        outcome = await scene.outcome(path)
        if outcome != numbers:
            scene.find("wrong", f"it was told {numbers}, and heard {outcome}"[:300])
        if (heard := await came) != reports:
            scene.find("wrong", f"the subscriber outside heard {heard}, and was told {reports}")
        for number in reports:
            await self._judge_started(scene, number)

    async def _subscribe(self, scene: Scene, count: int, begun: asyncio.Event) -> list[int]:
        """Receive so many reports, each counted once: what was not acknowledged comes again."""
        heard: dict[str, int] = {}
        while len(heard) < count:
            try:
                async with scene.app.subscribe(_report(scene.path), scene.path) as reports:
                    begun.set()
                    while len(heard) < count:
                        event = await reports.receive()
                        heard[event.id] = event.data
            except StorageUnavailableError:
                await asyncio.sleep(0.1)
        await scene.insist(partial(scene.app.unsubscribe, _report(scene.path), scene.path))
        return list(heard.values())

    @staticmethod
    async def _judge_started(scene: Scene, number: int) -> None:
        lost, kept = f"{scene.path}.lost{number}", f"{scene.path}.kept{number}"
        if await scene.insist(partial(scene.app.get_instance, lost)) is not None:
            scene.find("phantom", f"{lost} was started in a transaction that was rolled back")
        if (outcome := await scene.outcome(kept)) != number:
            scene.find("lost", f"{kept} ended with {outcome}"[:300])
