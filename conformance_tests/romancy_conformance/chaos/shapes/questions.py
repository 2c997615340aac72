"""Bodies that ask people, while several senders answer or refuse each question at once, each of them differently.

Each question has one outcome. Whose answer was accepted is in the log, and the body was told it; every other sender
learns of the same outcome. Bodies ask in turn, at once, under `first` and under limits, give questions up, recur, and
fail at a refusal until they are retried.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from romancy import (
    EventTimeoutError,
    InstanceEndedError,
    Question,
    QuestionAnsweredError,
    RefusedError,
    RomancyError,
    StorageUnavailableError,
    UsageError,
    WorkflowContext,
    workflow,
)
from romancy.core import Inquiry, MessageAwaited, MessagePutAside, MessageReceived, Topic, WaitTimedOut, said_in
from romancy.question import read_token
from romancy_conformance.chaos.shapes.honesty import TERMINATED
from romancy_conformance.chaos.shapes.shape import Scene

if TYPE_CHECKING:
    import random

    from romancy.core import LogEvent

__all__ = ["Questions"]

_STOPPED: Final = 0.2
_CUT: Final = 0.5
"""The share of those that are stopped which is terminated."""
_LEFT: Final = 0.5
"""The share of the questions that a sender finds and leaves to others for now."""
_KNOWN: Final = 0.9
"""The same of those to which this sender has said something before."""
_QUICKEST: Final = 0.5
_SLOWEST: Final = 4.0
"""Seconds between two looks of a sender: more while nothing is asked."""
_LATE: Final = 0.3
"""The share of the questions to which somebody says something when all is over."""
_REFUSED: Final = 0.3
_MISFIT: Final = 0.15
"""The share of the answers that only the class itself can refuse."""
_RETRIES: Final = 4
"""After so many, nobody refuses any more."""
_SURE: Final = frozenset({"turn", "gather"})
"""The parts in which each question is awaited until it is over."""


_End: TypeAlias = tuple[str, str | None]
"""How a question has ended, and by whom."""
_HOW: Final = {"answer": "answered", "refusal": "refused"}
_EXPIRED: Final[_End] = ("expired", None)
_WITHDRAWN: Final[_End] = ("withdrawn", None)


@dataclass
class _Vote:
    """An answer. It says itself who has given it."""

    by: str
    fits: bool = True

    def __post_init__(self) -> None:
        if not self.fits:
            raise ValueError("it does not fit")


async def _ask(ctx: WorkflowContext, told: list[Any], of: dict[str, Any]) -> None:
    """Ask one question, and note its end. Raises what it ends with, if it insists on an answer."""
    number = of["number"]
    try:
        vote = await ctx.ask(f"{number}?", model=_Vote, name=of["name"], to=of["to"], timeout=of["timeout"])
    except RefusedError as refused:
        if of["insists"]:
            raise
        told.append([number, "refused", refused.by])
    except EventTimeoutError:
        if of["insists"]:
            raise
        told.append([number, *_EXPIRED])
    else:
        told.append([number, "answered", vote.by])


@workflow(version="1")
async def shape_asks(ctx: WorkflowContext, told: list[Any], parts: list[Any]) -> list[Any]:
    """Ask what the parts say. Returns, of each question whose end it has seen, its number, the end, and by whom."""
    beside: list[asyncio.Task[None]] = []
    for at, part in enumerate(parts):
        asks = [_ask(ctx, told, each) for each in part["asks"]]
        match part["how"]:
            case "turn":
                for each in asks:
                    await each
            case "gather":
                await asyncio.gather(*asks)
            case "first":
                await ctx.first(*asks)
            case "limited":
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.gather(*asks), part["seconds"])
            case "beside":
                beside += map(asyncio.create_task, asks)
            case _:
                shape_asks.recur(told, parts[at + 1 :])
    return told


@dataclass
class _Saying:
    """What one sender has said to a question, and what it was told."""

    how: str
    by: str
    fits: bool
    is_repeated: bool = False
    """Whether it was said again, because the answer of the database was lost."""
    accepted: bool = False
    end: _End | None = None
    """What it was told that had ended the question before."""


@dataclass
class _Play:
    """What the senders of one instance know of each other."""

    scene: Scene
    said: defaultdict[str, list[_Saying]] = field(default_factory=lambda: defaultdict(list))
    """By the token of the question."""
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    retries: int = 0
    is_over: bool = False


class Questions:
    """An instance asks, and two or three senders answer."""

    name = "questions"
    sealed = False
    workflows: tuple[Any, ...] = (shape_asks,)

    async def play(self, scene: Scene) -> None:
        """Answer everything until it has ended, and compare what all were told with the log and the result."""
        chance, play = scene.chance, _Play(scene)
        parts = _parts(chance, scene.path)
        stopped = chance.random() < _STOPPED
        await scene.start(shape_asks.options(instance_id=scene.path).bind([], parts))
        senders = [asyncio.create_task(_sends(play, f"s{at}")) for at in range(chance.randint(2, 3))]
        stopping = [asyncio.create_task(_stop(scene))] if stopped else []
        outcome = await _ended(play, stopped=stopped)
        await asyncio.gather(*stopping)
        if stopped:
            outcome = await scene.outcome(scene.path)  # a retry may have been stopped, or not
        play.is_over = True
        await asyncio.gather(*senders)
        if isinstance(outcome, RomancyError):
            if not stopped:
                scene.find("wrong", f"it ended with {outcome!r}"[:300])
            outcome = None
        elif (fault := _misses(parts, outcome)) is not None:
            scene.find("wrong", f"{fault}: it was told {outcome}, of {parts}"[:600])
        await _judge(play, parts, outcome)


def _parts(chance: random.Random, path: str) -> list[Any]:
    parts: list[Any] = []
    number = 0
    for _ in range(chance.randint(1, 5)):
        how = chance.choice(("turn", "turn", "gather", "gather", "first", "limited", "beside", "recur"))
        part: dict[str, Any] = {"how": how, "asks": [], "seconds": chance.choice((0.05, 0.3, 1.0))}
        for _ in range(0 if how == "recur" else chance.randint(1, 4)):
            number += 1
            insists = how in _SURE and chance.random() < 0.2
            ask = {
                "number": number,
                "name": chance.choice(("vote", "choice")),
                "to": chance.choice((None, f"{path}-ann", f"{path}-bob")),
                "timeout": chance.choice((None, None, 3.0) if insists else (None, None, 0.05, 0.3, 1.0, 3.0)),
                "insists": insists,
            }
            part["asks"].append(ask)
        parts.append(part)
    return parts


def _misses(parts: list[Any], told: list[Any]) -> str | None:
    """What is wrong with the questions of which the body says that it knows their ends."""
    numbers = [number for number, _, _ in told]
    if len({*numbers}) != len(numbers):
        return "a question has two ends"
    for part in parts:
        asked = {each["number"] for each in part["asks"]}
        seen = asked.intersection(numbers)
        if (part["how"] in _SURE and seen != asked) or (part["how"] == "first" and not seen):
            return f"of {sorted(asked)} ({part['how']}), only {sorted(seen)} have ended"
    return None


# ── those who answer ────────────────────────────────────────────────────────────────────────────────────────────────


async def _sends(play: _Play, name: str) -> None:
    """Look for what is open, and say something to much of it, mostly two different things at once."""
    scene, chance, turn, pause = play.scene, play.scene.chance, 0, _QUICKEST
    while not play.is_over:
        await asyncio.sleep(chance.uniform(0.0, pause))
        found = await _found(scene)
        is_new = any(question.token not in play.said for question in found)
        pause = _QUICKEST if is_new else min(pause * 1.5, _SLOWEST)
        for question in found:
            play.numbers[question.token] = int(question.question.removesuffix("?"))
            known = any(each.by.startswith(f"{name}.") for each in play.said[question.token])
            if chance.random() < (_KNOWN if known else _LEFT):
                continue
            turn += 1
            await asyncio.gather(
                *(_say(play, question.token, f"{name}.{turn}.{which}") for which in chance.choice(("a", "ab", "ab")))
            )


async def _found(scene: Scene) -> list[Question]:
    """The questions of the instance, as one of several calls tells them."""
    to = scene.chance.choice((None, None, f"{scene.path}-ann", f"{scene.path}-bob"))
    instance_id = scene.path if to is None else scene.chance.choice((None, scene.path))
    limit = scene.chance.choice((2, 50, 50))
    questions: list[Question] = []
    cursor: str | None = None
    while True:
        ask = partial(scene.app.questions, to=to, instance_id=instance_id, cursor=cursor, limit=limit)
        page = await scene.insist(ask)
        questions += page.questions
        if (cursor := page.next_cursor) is None:
            return questions


async def _say(play: _Play, token: str, by: str) -> _Saying:
    scene, chance = play.scene, play.scene.chance
    refuses = play.retries < _RETRIES and chance.random() < _REFUSED
    saying = _Saying("refused" if refuses else "answered", by, refuses or chance.random() >= _MISFIT)
    play.said[token].append(saying)
    while True:
        try:
            if refuses:
                await scene.app.refuse(token, f"{by} does not want to", by=by)
            else:
                await scene.app.answer(token, {"by": by, "fits": saying.fits}, by=by)
        except StorageUnavailableError:
            saying.is_repeated = True
            await asyncio.sleep(0.1)
            continue
        except QuestionAnsweredError as error:
            saying.end = (error.how, error.by)
            saying.accepted = error.by == by
            if saying.accepted and not saying.is_repeated:
                scene.find("wrong", f"{by} was told that {by} was first")
        except RomancyError as error:
            scene.find("wrong", f"{by} said something to question {play.numbers[token]}, and got {error!r}"[:300])
        else:
            saying.accepted = True
        return saying


# ── those who stop it, and retry it ─────────────────────────────────────────────────────────────────────────────────


async def _ended(play: _Play, *, stopped: bool) -> Any:
    """Wait for its end, and retry it as often as a question ends without the answer on which it insists."""
    scene = play.scene
    while True:
        outcome = await scene.outcome(scene.path)
        if not isinstance(outcome, RomancyError) or stopped:
            return outcome
        if not any(word in str(outcome) for word in ("was refused", "in time")):
            return outcome
        play.retries += 1
        await asyncio.sleep(
            scene.chance.choice((0.0, 0.1, 5.0))
        )  # nobody has answered: each retry makes its log longer
        with suppress(InstanceEndedError, UsageError):  # the answer before a repeated call may have been lost
            await scene.insist(partial(scene.app.retry, scene.path))


async def _stop(scene: Scene) -> None:
    await asyncio.sleep(scene.chance.uniform(0.0, 1.5))  # the moment is what is tried
    terminates = scene.chance.random() < _CUT
    with suppress(RomancyError):
        if terminates:
            await scene.stop(partial(scene.app.terminate, scene.path, reason=TERMINATED))
        else:
            await scene.stop(partial(scene.app.cancel, scene.path))


# ── the judge ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _judge(play: _Play, parts: list[Any], told: list[Any] | None) -> None:
    """Compare what all senders were told with the log and with what the body was told (None: it has no result)."""
    scene = play.scene
    left = await scene.insist(partial(scene.app.questions, instance_id=scene.path))
    for question in left.questions:
        scene.find("wrong", f"it has ended, and still asks {question.question}")
    log = await scene.insist(partial(_read_log, scene))
    awaited = {each["number"] for part in parts if part["how"] in _SURE for each in part["asks"]}
    for token, said in play.said.items():
        number, ends = play.numbers[token], log.ends(read_token(token)[1])
        is_sure = told is not None and not play.retries and number in awaited
        if (fault := _fault(said, ends, is_sure=is_sure)) is not None:
            scene.find("wrong", f"question {number}: {fault}; the log has {ends}, and they were told {said}"[:900])
        if scene.chance.random() >= _LATE:
            continue
        late = await _say(play, token, "late")
        if late.accepted or (ends and late.end != ends[-1]):
            scene.find("wrong", f"question {number} ended with {ends}, and a late one was told {late}"[:300])
    for number, *end in told or []:
        if tuple(end) not in log.ends_of(number):
            scene.find("wrong", f"the body was told {end} of question {number}, and the log has {log.ends_of(number)}")


def _fault(said: list[_Saying], ends: list[_End], *, is_sure: bool) -> str | None:
    """What is wrong with the ends of one question. `is_sure`: whether the body has certainly awaited it."""
    if len(ends) > 1:
        return "it has two ends"
    accepted = [(each.how, each.by) for each in said if each.accepted and each.fits]
    if len(accepted) > 1:
        return "two were accepted"
    if accepted and ends != accepted and (ends or is_sure):
        return "what was accepted is not its end"
    if is_sure and not ends:
        return "it has no end"
    right = {*ends, *(("answered", each.by) for each in said if not each.fits)}
    if not ends:  # it was given up, perhaps when the database had taken what nobody has received
        unsure = ((each.how, each.by) for each in said if each.is_repeated)
        right |= {_WITHDRAWN, _EXPIRED, *accepted, *unsure}
    if any(each.end is not None and each.end not in right for each in said):
        return "somebody was told another end"
    return None


class _Log:
    """What the log of an instance says of its questions.

    A retry writes again what it remembers, so what is there twice counts once.
    """

    def __init__(self) -> None:
        self._ends: defaultdict[str, dict[_End, None]] = defaultdict(dict)
        """By the secret, without the answers that were put aside."""
        self._secrets: dict[str, str] = {}
        """By the id of the wait."""
        self._numbers: defaultdict[str, dict[str, None]] = defaultdict(dict)
        """The secrets of each question, by its text."""

    def ends(self, secret: str) -> list[_End]:
        return [*self._ends[secret]]

    def ends_of(self, number: int) -> list[_End]:
        """How the question has ended each time that it was asked."""
        return [end for secret in self._numbers[f"{number}?"] for end in self._ends[secret]]

    def read(self, event: LogEvent) -> None:
        match event:
            case MessageAwaited(asks=Inquiry(question=text), topic=Topic(key=str(secret))):
                self._secrets[event.id] = secret
                self._numbers[text][secret] = None
                self._ends[secret].pop(_EXPIRED, None)  # it looks whether anybody was faster
            case MessageReceived() if event.message.topic.kind == "question":
                said = said_in(event.message)
                self._ends[event.message.topic.key or ""][_HOW[said.how], said.by] = None
            case MessagePutAside() if event.topic.kind == "question":
                self._ends[event.topic.key or ""].popitem()
            case WaitTimedOut() if event.id in self._secrets:
                self._ends[self._secrets[event.id]][_EXPIRED] = None
            case _:
                pass


async def _read_log(scene: Scene) -> _Log:
    log = _Log()
    async for entry in scene.app.entries_of(scene.path):
        log.read(entry.event)
    return log
