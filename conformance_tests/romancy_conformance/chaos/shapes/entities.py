"""Objects with a key, called by several at once, some of them twice with one id, while some methods raise.

Each call is carried out once, one at a time: what a call returned is the state as it was then, so all answers are the
beginnings of the last state. A method that raised leaves no trace in the state.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy import (
    InstanceEndedError,
    InstanceNotFoundError,
    RequestFailedError,
    RequestTimeoutError,
    RequestUnansweredError,
    RomancyError,
    StorageUnavailableError,
    WorkflowContext,
    entity,
    entity_context,
    workflow,
)
from romancy.entity import LINGERS
from romancy.entity_calls import entity_of
from romancy_conformance.chaos.shapes.acts import FORMS
from romancy_conformance.chaos.shapes.honesty import TERMINATED

if TYPE_CHECKING:
    from romancy import EntityHandle
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Entities"]

_STOPPED: Final = 0.2
_BODIES: Final = 0.3
"""The share of the calls that a body makes."""
_CUT: Final = 0.5
"""The share of those that are stopped which is terminated."""
_LINGERS: Final = 0.2
"""Seconds for which an entity goes on that is destroyed."""
_KINDS: Final = ("act", "take", "fail", "wait")


@entity("shape_entity")
@dataclass
class _Shelf:
    """Keeps the numbers that it was given, in their order."""

    numbers: list[int] = field(default_factory=list[int])

    async def act(self, number: int) -> list[int]:
        self.numbers.append(await FORMS["coroutine"].options(id=f"shelf-{number}")(number))
        return self.numbers

    async def take(self, number: int) -> list[int]:
        self.numbers.append(number)
        return self.numbers

    async def wait(self, number: int) -> list[int]:
        self.numbers.append(number)
        await entity_context().sleep(0.05)
        return self.numbers

    async def fail(self, number: int) -> list[int]:
        self.numbers.append(number)
        await FORMS["thread"].options(id=f"shelf-{number}")(number)
        raise KeyError(number)


@workflow(version="1")
async def shape_calls_entity(ctx: WorkflowContext, key: str, kind: str, number: int) -> tuple[str, Any]:
    """Call an entity from a body."""
    try:
        return "returned", await getattr(ctx.entity(_Shelf, key), kind)(number)
    except RequestFailedError as error:
        return "failed", repr(error.__cause__)
    except (InstanceEndedError, RequestUnansweredError):
        return "unanswered", ""


class Entities:
    """An entity that several callers call."""

    name = "entities"
    sealed = False
    workflows: tuple[Any, ...] = (entity_of(_Shelf).workflow, shape_calls_entity)

    async def play(self, scene: Scene) -> None:
        """Call it, compare the answers with its state, and end it."""
        chance, handle = scene.chance, scene.app.entity_handle(_Shelf, scene.path)
        stopped = chance.random() < _STOPPED
        calls = [(chance.choice(_KINDS), number) for number in range(1, chance.randint(4, 12))]
        asking = asyncio.gather(*(self._calls(scene, kind, number) for kind, number in calls))
        told, *_ = await asyncio.gather(asking, *([self._stop(scene, handle)] if stopped else []))
        if stopped:  # but perhaps no call had begun it then
            await self._end(scene, handle)
            return
        state = await scene.insist(handle.state)
        left = [] if state is None else state.numbers
        for (kind, number), (how, what) in zip(calls, told, strict=True):
            right = (
                what == f"KeyError({number})" and number not in left
                if kind == "fail"
                else how == "returned" and what[-1] == number and what == left[: len(what)]
            )
            if not right:
                scene.find("wrong", f"{kind} {number} was told {how} {what}, and the state is {left}"[:300])
        if sorted(left) != [number for kind, number in calls if kind != "fail"]:
            scene.find("wrong", f"of {calls}, the state has {left}"[:300])
        await self._end(scene, handle)

    async def _calls(self, scene: Scene, kind: str, number: int) -> tuple[str, Any]:
        chance = scene.chance
        await asyncio.sleep(chance.choice((0.0, 0.02, 0.1, 0.3)))
        if chance.random() < _BODIES:
            caller = f"{scene.path}.{number}"
            await scene.start(shape_calls_entity.options(instance_id=caller).bind(scene.path, kind, number))
            told: Any = await scene.outcome(caller)
            return ("broken", repr(told)) if isinstance(told, Exception) else (told[0], told[1])
        limits = [chance.choice((None, None, 0.3)) for _ in range(chance.choice((1, 1, 2)))]
        answers = await asyncio.gather(*(self._call(scene, kind, number, limit) for limit in limits))
        if answers[1:] and answers[0] != answers[1] and "unanswered" not in (answers[0][0], answers[1][0]):
            scene.find("wrong", f"{kind} {number} has two answers: {answers}"[:300])
        return answers[0]

    @staticmethod
    async def _call(scene: Scene, kind: str, number: int, limit: float | None) -> tuple[str, Any]:
        while True:
            calls = scene.app.entity(_Shelf, scene.path, id=f"{scene.path}-{number}", timeout=limit)
            try:
                return "returned", await getattr(calls, kind)(number)
            except StorageUnavailableError:
                await asyncio.sleep(0.1)
            except RequestTimeoutError:
                limit = None
            except RequestFailedError as error:
                return "failed", repr(error.__cause__)
            except (InstanceEndedError, RequestUnansweredError):
                return "unanswered", ""

    @staticmethod
    async def _stop(scene: Scene, handle: EntityHandle[_Shelf]) -> None:
        await asyncio.sleep(scene.chance.uniform(0.0, 1.0))  # the moment is what is tried
        terminates = scene.chance.random() < _CUT
        with suppress(RomancyError):
            if terminates:
                await scene.stop(partial(scene.app.terminate, handle.instance_id, reason=TERMINATED))
            else:
                await scene.stop(partial(scene.app.cancel, handle.instance_id))

    @staticmethod
    async def _end(scene: Scene, handle: EntityHandle[_Shelf]) -> None:
        """Destroy it. If the answer was lost, terminate it: a second call might begin it anew, without its log."""
        LINGERS.set(_LINGERS)
        try:
            await handle.destroy()
        except InstanceEndedError:
            return
        except StorageUnavailableError:
            with suppress(InstanceNotFoundError):
                await scene.stop(partial(scene.app.terminate, handle.instance_id, reason=TERMINATED))
        await scene.outcome(handle.instance_id)
