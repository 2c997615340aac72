"""Bodies and activities that write to a stream, while readers are cut off at random and go on behind their offsets.

What each reader keeps is what the log has recorded: of each activity that completed, what it returned; of each that
answered its cancellation, all that it had written; of the body, everything. Nothing is there twice, nothing of a failed
or lost attempt, and all readers of one kind have the same.

Workers empty the streams soon after the end. A reader that is late is told, or finds what the log alone has.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from romancy import (
    RetryPolicy,
    StorageUnavailableError,
    Stream,
    StreamGoneError,
    StreamItem,
    WorkflowContext,
    activity,
    activity_context,
    kept,
    workflow,
)
from romancy.core import ActivityCancelled, ActivityCompleted, StreamWritten
from romancy.stream_rows import BLANK
from romancy_conformance.chaos.plain import outside
from romancy_conformance.chaos.shapes.honesty import TERMINATED
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from romancy.core import LogEvent
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["KEPT", "Streams", "empty_soon"]

KEPT: Final = 3.0
"""Seconds from the end of an instance: `keep_streams=` of all workers."""

_SAID: Final = Stream("shape-said", str)
_FILE: Final = "said.jsonl"
_BODY: Final = "body"
_STOPPED: Final = 0.2
_CUT: Final = 0.5
"""The share of those that are stopped which is terminated."""
_RESET: Final = 0.04
"""The share of the tokens behind which an attempt fails."""
_EMPTIED: Final = 0.5
"""The share of those that are awaited until their streams are empty."""
_PATIENCE: Final = 120.0
"""Seconds in which streams must be empty after their time is over."""


def empty_soon(streamed: Any) -> None:
    """Let workers of this process look for streams to empty within seconds: most of them do not live for a minute."""
    streamed._MOST_OFTEN = 1.0


class _Said(Struct, frozen=True):
    """What an attempt had written when it ended. It may be cancelled even then, while it is flushed."""

    instance: str
    source: str
    attempt: int
    tokens: list[str]


@activity(retry=RetryPolicy.fixed(1000, 0.01))
async def shape_says(seed: str, count: int) -> list[str]:
    """Other tokens in each attempt, as of a model, which resets the connection now and then."""
    context = activity_context()
    stream, tokens = context.stream(_SAID), list[str]()
    chance = random.Random(f"{seed} {context.attempt} {stage.moment()}")
    execution = f"{context.activity_id}|{context.attempt}|{chance.randrange(1 << 40):x}"
    try:
        for number in range(count):
            tokens.append(f"{execution}|{number}")
            stream.write(tokens[-1])
            await asyncio.sleep(chance.choice((0.0, 0.0, 0.005, 0.02, 0.1)))
            if chance.random() < 0.1:
                await stream.flush()
            if chance.random() < _RESET:
                raise ConnectionResetError("by the provider")
    finally:
        _note(_Said(context.instance_id, context.activity_id, context.attempt, tokens))
    return tokens


@activity(retry=RetryPolicy.fixed(1000, 0.01))
def shape_says_at_once(seed: str, count: int) -> list[str]:
    context = activity_context()
    chance = random.Random(f"{seed} {context.attempt} {stage.moment()}")
    execution = f"{context.activity_id}|{context.attempt}|{chance.randrange(1 << 40):x}"
    tokens = list[str]()
    try:
        for number in range(count):
            context.stream(_SAID).write(f"{execution}|{number}")
            tokens.append(f"{execution}|{number}")
        if chance.random() < 0.2:
            raise ConnectionResetError("by the provider")
    finally:
        _note(_Said(context.instance_id, context.activity_id, context.attempt, tokens))
    return tokens


def _note(said: _Said) -> None:
    file = os.open(outside[-1].with_name(_FILE), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, msgspec.json.encode(said) + b"\n")
    finally:
        os.close(file)


@workflow(version="1")
async def shape_speaks(ctx: WorkflowContext, seed: str, parts: list[Any]) -> int:
    """Say what the parts are, one after the other, or beside each other."""
    for at, (how, count, seconds) in enumerate(parts):
        name = f"{seed}.{at}"
        match how:
            case "turn":
                await shape_says(name, count)
            case "plain":
                await shape_says_at_once(name, count)
            case "gather":
                await asyncio.gather(*(shape_says(f"{name}.{which}", count) for which in range(3)))
            case "limited":
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await shape_says(name, 4 * count)
            case "body":
                for number in range(count % 4):
                    await ctx.stream(_SAID).write(f"{_BODY}|{ctx.run}|{at}|{number}")
            case _:
                shape_speaks.recur(f"{seed}.", parts[at + 1 :])
    return len(parts)


class Streams:
    """An instance that speaks, and three or four who read."""

    name = "streams"
    sealed = False
    workflows: tuple[Any, ...] = (shape_speaks,)

    async def play(self, scene: Scene) -> None:
        """Read everything to the end, and compare it with the log."""
        chance = scene.chance
        parts = [_part(chance) for _ in range(chance.randint(1, 5))]
        await scene.start(shape_speaks.options(instance_id=scene.path).bind(scene.path, parts))
        reading = [
            asyncio.create_task(_reads(scene, settled=bool(number % 2))) for number in range(chance.randint(3, 4))
        ]
        if chance.random() < _STOPPED:
            await _stop(scene)
        await scene.outcome(scene.path)
        readers = await asyncio.gather(*reading)
        readers += [await _reads(scene, settled=settled, cut=False) for settled in (False, True)]
        log, said = await scene.insist(partial(_log, scene)), _said(scene.folder, scene.path)
        _judge(scene, readers, log, said)
        if scene.chance.random() < _EMPTIED:
            await _judge_emptied(scene, log)


def _part(chance: random.Random) -> tuple[str, int, float]:
    how = chance.choice(("turn", "turn", "plain", "gather", "limited", "limited", "body", "recur"))
    return how, chance.randint(1, 20), chance.choice((0.05, 0.2, 0.5))


async def _stop(scene: Scene) -> None:
    await asyncio.sleep(scene.chance.uniform(0.0, 1.0))  # the moment is what is tried
    if scene.chance.random() < _CUT:
        await scene.stop(partial(scene.app.terminate, scene.path, reason=TERMINATED))
    else:
        await scene.stop(partial(scene.app.cancel, scene.path))


class _Read(Struct):
    """What a reader has read."""

    settled: bool
    items: list[StreamItem[str]] = []
    gone: bool = False
    """Whether it was told that what it had not read yet was removed."""
    late: bool = False
    """Whether the streams were empty before it had come to the end."""

    @property
    def words(self) -> list[str]:
        return [item.data for item in self.items] if self.settled else kept(self.items)


async def _reads(scene: Scene, *, settled: bool, cut: bool = True) -> _Read:
    """All items, by readers of which each is cut off after some."""
    read, ended = _Read(settled), False
    while not ended:
        try:
            ended = await _reads_on(scene, read, cut=cut)
        except StorageUnavailableError:
            pass
        except StreamGoneError:
            read.gone = ended = True
        if not ended:
            await asyncio.sleep(scene.chance.choice((0.0, 0.1, 1.0)))
    read.late = await _first_line(scene) == BLANK
    return read


async def _reads_on(scene: Scene, read: _Read, *, cut: bool) -> bool:
    """Read until the reader is cut off. Returns whether it has come to the end of the stream."""
    chance = scene.chance
    after = read.items[-1].offset if read.items else None
    follow = not cut or chance.random() < 0.8
    left = chance.choice((1, 3, 10, 100)) if cut else 1 << 30
    reader: Any = scene.app.stream_of(scene.path, _SAID, after=after, settled=read.settled, follow=follow)
    try:
        async for item in reader:
            read.items.append(item)
            left -= 1
            if not left:
                return False
    finally:
        await reader.aclose()
    return follow


async def _first_line(scene: Scene) -> bytes | None:
    """What the streams begin with; None if they hold nothing."""
    page = await scene.insist(partial(scene.store.read, scene.path, after=0))
    if page is None:
        return None
    written = partial(scene.store.services.journal.written, scene.path, page.instance.life, after=0, limit=1)
    return next((line.body for line in await scene.insist(written)), None)


# ── the judge ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _judge(scene: Scene, readers: Sequence[_Read], log: Sequence[LogEvent], said: dict[str, list[_Said]]) -> None:
    whole = [read for read in readers if not read.late]
    right = _recorded(log, said, {*whole[0].words}) if whole else {}
    seen: dict[bool, list[str]] = {}
    for number, read in enumerate(readers):
        offsets = [item.offset for item in read.items]
        if offsets != sorted({*offsets}):
            scene.find("order", f"reader {number}: its offsets do not count up")
        if read.late:
            _judge_late(scene, number, read, log)
            continue
        if read.gone:
            scene.find("lost", f"reader {number} was told that streams are gone, and they are there")
        # each source has its order, and only final data one of all
        alike = read.words if read.settled else sorted(read.words)
        if (before := seen.setdefault(read.settled, alike)) != alike:
            scene.find("wrong", f"reader {number} keeps {_differ(read.words, before)} another one does not"[:400])
        if number == 0 or read is whole[-1] or before != alike:
            _compare(scene, number, read.words, right)


def _compare(scene: Scene, number: int, words: list[str], right: dict[str, list[str]]) -> None:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for word in words:
        found[word.partition("|")[0]].append(word)
    for source in sorted({*found, *right}):
        if found[source] != right.get(source, []):
            kind = "doubled" if len({*found[source]}) < len(found[source]) else "wrong"
            scene.find(kind, f"reader {number}, {source}: {_differ(found[source], right.get(source, []))}"[:500])


def _judge_late(scene: Scene, number: int, read: _Read, log: Sequence[LogEvent]) -> None:
    """It came to the end before the streams were emptied, or was told, or had read nothing and finds the log's part."""
    # what it has of activities is compared with nothing: the words of cancelled ones are known from other readers only
    body = [word for word in read.words if word.partition("|")[0] == _BODY]
    of_log = _of_body(log)
    if body != of_log[: len(body)] or (not read.gone and body != of_log):
        scene.find("wrong", f"reader {number}, late: {_differ(body, of_log)}"[:500])


async def _judge_emptied(scene: Scene, log: Sequence[LogEvent]) -> None:
    """Wait until the streams are empty, if they held anything; a new reader then finds what the log has."""
    last = stage.moment() + _PATIENCE
    while (line := await _first_line(scene)) != BLANK:
        if line is None:
            return
        if stage.moment() > last:
            scene.find("rests", f"its streams are not empty {_PATIENCE} s after their time")
            return
        await asyncio.sleep(0.5)
    for settled in (False, True):
        words = await scene.insist(partial(_there_now, scene, settled=settled))
        if words != _of_body(log):
            scene.find("wrong", f"of emptied streams a reader has {_differ(words, _of_body(log))}"[:500])


async def _there_now(scene: Scene, *, settled: bool) -> list[str]:
    """What a reader finds that does not follow. One that does may get what its process has not forgotten yet."""
    reader = scene.app.stream_of(scene.path, _SAID, settled=settled, follow=False)
    return [item.data async for item in reader if item.kind == "data"]


def _of_body(log: Sequence[LogEvent]) -> list[str]:
    return [msgspec.json.decode(event.data, type=str) for event in log if isinstance(event, StreamWritten)]


def _differ(found: Sequence[str], right: Sequence[str]) -> str:
    return f"{found} and not {right}" if len(found) + len(right) < 10 else f"{sorted({*found} ^ {*right})} or an order"


def _said(folder: Path, instance: str) -> dict[str, list[_Said]]:
    """What the attempts of each source had written."""
    said: defaultdict[str, list[_Said]] = defaultdict(list)
    file = folder / _FILE
    for line in file.read_bytes().splitlines() if file.exists() else ():
        one = msgspec.json.decode(line, type=_Said)
        if one.instance == instance:
            said[one.source].append(one)
    return said


async def _log(scene: Scene) -> list[LogEvent]:
    return [entry.event async for entry in scene.app.entries_of(scene.path)]


def _recorded(events: Sequence[LogEvent], said: dict[str, list[_Said]], words: set[str]) -> dict[str, list[str]]:
    """The words of each source that count, by the log. `words`: what a reader keeps."""
    recorded: defaultdict[str, list[str]] = defaultdict(list)
    completed = [each for each in events if isinstance(each, ActivityCompleted)]
    returned = {word for each in completed for word in msgspec.json.decode(each.result, type=list[str])}
    for event in events:
        match event:
            case ActivityCompleted():
                recorded[event.id] += msgspec.json.decode(event.result, type=list[str])
            case ActivityCancelled(streamed=attempt) if attempt:
                others = [each for each in said.get(event.id, []) if returned.isdisjoint(each.tokens)]
                recorded[event.id] += _of_attempt(others, attempt, words)
                returned.update(recorded[event.id])  # another run may have an activity of this id
            case StreamWritten():
                recorded[_BODY].append(msgspec.json.decode(event.data, type=str))
            case _:
                pass
    return recorded


def _of_attempt(said: list[_Said], attempt: int, words: set[str]) -> list[str]:
    """What the execution has written whose end is in the log. Others of its number may have been cut off before."""
    mine = [each.tokens for each in said if each.attempt == attempt]
    whole = [tokens for tokens in mine if tokens and words.issuperset(tokens)]
    return whole[0] if whole else [] if [] in mine else (mine or [[]])[-1]
