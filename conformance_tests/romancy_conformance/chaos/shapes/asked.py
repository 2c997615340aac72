"""Bodies that answer requests, refuse some, fail at others, and recur, while senders ask again with the same ids.

Each request is answered once. Every sender gets the answer that the log holds, and the result of the instance says that
each was handled once, in the run that answered it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy import (
    InstanceEndedError,
    RequestFailedError,
    RequestRefusedError,
    RequestType,
    RequestUnansweredError,
    RomancyError,
    StorageUnavailableError,
    WorkflowContext,
    workflow,
)
from romancy.core import RequestAnswered, RequestRefused
from romancy_conformance.chaos.shapes.acts import FORMS
from romancy_conformance.chaos.shapes.honesty import TERMINATED

if TYPE_CHECKING:
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Requested"]

_ACT: Final = RequestType("shape-act", int, list[int])
_TAKE: Final = RequestType("shape-take", int, list[int])
_FAIL: Final = RequestType("shape-fail", int, None)
_LAST: Final = RequestType("shape-last", None, int)
_KINDS: Final = (_ACT, _TAKE, _FAIL)
_STOPPED: Final = 0.2
_CUT: Final = 0.5
"""The share of those that are stopped which is terminated."""
_NEVER_AGAIN: Final = 0.6
"""The share of the requests for whose answers nobody asks again at the end."""


@workflow(version="1")
async def shape_answers(ctx: WorkflowContext, handled: list[int], each: int) -> list[int]:
    """Answer requests, so many in a run, until the last one. Returns the numbers that were handled."""
    before, is_over = len(handled), False

    async def act(number: int) -> list[int]:
        done = await FORMS["coroutine"].options(id=f"answers-{number}")(number)
        handled.append(number)
        return [number, int(done == number), len(handled)]

    async def take(number: int) -> list[int]:
        handled.append(number)
        return [number, len(handled)]

    def even(number: int) -> None:
        if number % 2:
            raise ValueError(f"{number} is odd, behind {len(handled)}")

    async def fail(number: int) -> None:
        handled.append(number)
        await FORMS["thread"].options(id=f"answers-{number}")(number)
        raise KeyError(number)

    async def last() -> int:
        nonlocal is_over
        is_over = True
        return len(handled)

    handlers = (_ACT.by(act), _TAKE.by(take, validate=even), _FAIL.by(fail), _LAST.by(last))
    async with ctx.handling(*handlers):
        await ctx.until(lambda: is_over or len(handled) >= before + each)
        await ctx.all_handled()
        if not is_over:
            return shape_answers.recur(handled, each)
    return handled


class Requested:
    """An instance is asked by several senders, in requests of three kinds."""

    name = "requests"
    sealed = False
    workflows: tuple[Any, ...] = (shape_answers,)

    async def play(self, scene: Scene) -> None:
        """Ask everything, some of it twice at once, and compare the answers with the log and the result."""
        chance, path = scene.chance, scene.path
        numbers = list(range(1, chance.randint(4, 9)))
        stopped = chance.random() < _STOPPED
        each = len(numbers) + 1 if stopped else chance.randint(2, 5)  # an end undoes nothing of former runs
        await scene.start(shape_answers.options(instance_id=path).bind([], each))
        asking = asyncio.gather(*(self._asked(scene, number, stopped=stopped) for number in numbers))
        told, *_ = await asyncio.gather(asking, *([self._stop(scene, chance.uniform(0.0, 1.0))] if stopped else []))
        if not stopped:
            await self._answer(scene, _LAST, None, f"{path}-last", stopped=False)
        outcome = await scene.outcome(path)
        if isinstance(outcome, RomancyError):
            if not stopped:
                scene.find("wrong", f"it ended with {outcome!r}"[:300])
        elif not stopped and sorted(outcome) != [number for number, answer in zip(numbers, told, strict=True)
                                                 if answer[0] != "refused"]:  # fmt: skip
            scene.find("wrong", f"it was asked {numbers}, told {told}, and ended with {outcome}"[:300])
        await self._compare(scene, dict(zip(numbers, told, strict=True)), stopped=stopped)

    async def _asked(self, scene: Scene, number: int, *, stopped: bool) -> tuple[Any, ...]:
        chance = scene.chance
        kind, twice = _KINDS[number % 3], chance.choice((1, 1, 2))
        await asyncio.sleep(chance.choice((0.0, 0.02, 0.1, 0.3)))
        asks = [self._answer(scene, kind, number, f"{scene.path}-{number}", stopped=stopped) for _ in range(twice)]
        answers = await asyncio.gather(*asks)
        if answers[1:] and answers[0] != answers[1]:
            scene.find("wrong", f"{kind.name} {number} has two answers: {answers}"[:300])
        self._judge(scene, kind, number, answers[0])
        return answers[0]

    @staticmethod
    async def _answer(
        scene: Scene, kind: RequestType[Any, Any], data: Any, id: str, *, stopped: bool
    ) -> tuple[Any, ...]:
        while True:
            try:
                return "answered", await scene.app.request(scene.path, kind, data, id=id)
            except StorageUnavailableError:
                await asyncio.sleep(0.1)
            except RequestRefusedError as error:
                return "refused", str(error.__cause__)
            except RequestFailedError as error:
                return "failed", repr(error.__cause__)
            except (InstanceEndedError, RequestUnansweredError) as error:
                if not stopped:
                    scene.find("wrong", f"{kind.name} {data} has no answer: {error!r}"[:300])
                return "unanswered", ""

    @staticmethod
    def _judge(scene: Scene, kind: RequestType[Any, Any], number: int, answer: tuple[Any, ...]) -> None:
        how, what = answer
        match how:
            case "answered":
                right = kind is not _FAIL and what[0] == number and (kind is not _ACT or what[1] == 1)
                right = right and (kind is not _TAKE or number % 2 == 0)
            case "refused":
                right = kind is _TAKE and number % 2 == 1
            case "failed":
                right = (kind is _FAIL and str(number) in what) or "stopped before" in what or "Cancel" in what
            case _:
                right = True
        if not right:
            scene.find("wrong", f"{kind.name} {number} was answered {answer}"[:300])

    async def _compare(self, scene: Scene, told: dict[int, tuple[Any, ...]], *, stopped: bool) -> None:
        """Each answer is in the log once. Whoever asks again gets the one that was told before."""
        counts: dict[str, int] = {}
        found = await scene.insist(partial(_answers, scene))
        for event in found:
            counts[event.id] = counts.get(event.id, 0) + 1
        for number, answer in told.items():
            id = f"{scene.path}-{number}"
            if counts.get(id, 0) != int(answer[0] != "unanswered"):
                scene.find("wrong", f"{number} was told {answer}, and is {counts.get(id, 0)} times in the log"[:300])
            if scene.chance.random() < _NEVER_AGAIN:
                continue
            again = await self._answer(scene, _KINDS[number % 3], number, id, stopped=stopped)
            if again != answer:
                scene.find("wrong", f"{number} was told {answer}, and later {again}"[:300])

    @staticmethod
    async def _stop(scene: Scene, after: float) -> None:
        await asyncio.sleep(after)  # the moment is what is tried
        terminates = scene.chance.random() < _CUT
        with suppress(RomancyError):
            if terminates:
                await scene.stop(partial(scene.app.terminate, scene.path, reason=TERMINATED))
            else:
                await scene.stop(partial(scene.app.cancel, scene.path))


async def _answers(scene: Scene) -> list[RequestAnswered | RequestRefused]:
    events = [entry.event async for entry in scene.app.entries_of(scene.path)]
    return [event for event in events if isinstance(event, RequestAnswered | RequestRefused)]
