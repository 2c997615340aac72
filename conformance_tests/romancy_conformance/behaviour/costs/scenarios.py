"""The work whose writes are counted, and how the counts are read and shown."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from romancy import Channel, Romancy, Status, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.costs.writing import Place
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from romancy.storage.protocol import Store

    Numbers = Mapping[str, Mapping[Place, int]]

__all__ = [
    "LEASE",
    "SCENARIOS",
    "SQLITE",
    "STEPS",
    "News",
    "Scene",
    "a_signal",
    "a_timer",
    "a_wait",
    "a_workflow",
    "an_event",
    "differences",
    "read",
    "shown",
    "write_line",
    "write_listens",
    "write_sleeps",
    "write_step",
    "write_waits",
]


SQLITE: Final = """
                                              workflow      wait     timer    signal     event
    romancy_addresses                                .         .         .         .         1
    romancy_inbox                                    .         .         .         2         2
      romancy_inbox_number                           .         .         .         2         2
    romancy_instances                                2         1         1         3         3
      romancy_instances_due                          .         .         1         2         2
      romancy_instances_ended                        1         .         .         .         .
      romancy_instances_mail                         .         .         .         4         4
      romancy_instances_newest                       1         1         1         .         .
      romancy_instances_owner                        2         .         .         2         2
      romancy_instances_paths                        1         1         1         .         .
      romancy_instances_status                       3         1         1         2         2
      romancy_instances_workflow                     1         1         1         .         .
      sqlite_autoindex_romancy_instances_1           1         1         1         .         .
    romancy_interests                                .         1         .         .         .
      romancy_interests_address                      .         1         .         .         .
    romancy_log                                      6         1         1         1         1
    romancy_messages                                 .         .         .         .         2
      romancy_messages_order                         .         .         .         .         2
"""


News = Channel("write_news", int)
STEPS: Final = 5
LEASE: Final = 3600.0


@activity
async def write_step(number: int) -> int:
    return number


@workflow
async def write_line(ctx: WorkflowContext) -> int:
    return sum([await write_step(number) for number in range(STEPS)])


@workflow
async def write_waits(ctx: WorkflowContext) -> None:
    while True:
        await ctx.wait_event("go")


@workflow
async def write_sleeps(ctx: WorkflowContext) -> None:
    await ctx.sleep(timedelta(days=1))


@workflow
async def write_listens(ctx: WorkflowContext) -> None:
    news = ctx.channel(News)
    await news.subscribe()
    while True:
        await news.receive()


class Scene:
    """A database with an instance that waits and one that has subscribed, both without an owner."""

    def __init__(self, url: str, store: Store) -> None:
        self.url, self.store = url, store
        self.waits = self.listens = ""

    async def prepare(self) -> None:
        """Begin both, and write what is written once for each workflow."""
        async with self.opened() as app:
            await app.run(write_line)
            await self.rested((await app.start(write_sleeps)).instance_id)
            self.waits = (await app.start(write_waits)).instance_id
            self.listens = (await app.start(write_listens)).instance_id
            for name in (self.waits, self.listens):
                await self.rested(name)

    def opened(self) -> Romancy:
        return Romancy(self.url, workflows=[write_line, write_waits, write_sleeps, write_listens], lease=LEASE)

    async def rested(self, name: str, *, since: int = 0) -> None:
        """Wait until the instance, after this row of its log, waits and has no owner."""

        async def so() -> bool:
            history = await self.store.read(name, limit=0)
            if history is None:
                return False
            row = history.instance
            waits = row.status is Status.WAITING and row.last_seq > since
            return waits and row.owner is None and row.signals == row.seen

        await until(so)

    async def last(self, name: str) -> int:
        history = await self.store.read(name, limit=0)
        assert history is not None
        return history.instance.last_seq


async def a_workflow(_: Scene, app: Romancy) -> None:
    """The start, five steps, the end, and the result."""
    await app.run(write_line)


async def a_wait(scene: Scene, app: Romancy) -> None:
    """The start of an instance that waits for a signal, until it has no owner."""
    await scene.rested((await app.start(write_waits)).instance_id)


async def a_timer(scene: Scene, app: Romancy) -> None:
    """The start of an instance that sleeps, until it has no owner."""
    await scene.rested((await app.start(write_sleeps)).instance_id)


async def a_signal(scene: Scene, app: Romancy) -> None:
    """A signal to an instance that waits, until it waits for the next one."""
    last = await scene.last(scene.waits)
    await app.signal(scene.waits, "go")
    await scene.rested(scene.waits, since=last)


async def an_event(scene: Scene, app: Romancy) -> None:
    """An event on a channel with one subscriber, until it waits for the next one."""
    last = await scene.last(scene.listens)
    await app.channel(News).publish(1)
    await scene.rested(scene.listens, since=last)


SCENARIOS: Final[dict[str, Callable[[Scene, Romancy], Awaitable[None]]]] = {
    "workflow": a_workflow,
    "wait": a_wait,
    "timer": a_timer,
    "signal": a_signal,
    "event": an_event,
}


def read(text: str) -> Numbers:
    """Return the numbers of a table. A place that is not in it is not written into."""
    first, *lines = [line for line in text.splitlines() if line.strip()] or [""]
    names, found = first.split(), {name: Counter[Place]() for name in SCENARIOS}
    deepest = min((_depth(line) for line in lines), default=0)
    place = Place("")
    for line in lines:
        word, *numbers = line.split()
        place = Place(word) if _depth(line) == deepest else Place(place.table, word)
        for name, number in zip(names, numbers, strict=True):
            found[name][place] = 0 if number == "." else int(number)
    return found


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def shown(numbers: Numbers) -> str:
    """Return the numbers as a table that `read` reads."""
    places = sorted({place for found in numbers.values() for place in found})
    lines = [f"{'':40}" + "".join(f"{name:>10}" for name in numbers)]
    for place in places:
        counts = [found.get(place, 0) for found in numbers.values()]
        word = f"  {place.index_name}" if place.index_name else place.table
        lines.append(f"{word:40}" + "".join(f"{count or '.':>10}" for count in counts))
    return "\n".join(lines)


def differences(expected: Numbers, found: Numbers) -> list[str]:
    """Return a line for each number that is not as expected, with its table and its index."""
    lines: list[str] = []
    for name in SCENARIOS:
        for place in sorted({*expected[name], *found[name]}):
            count, right = found[name].get(place, 0), expected[name].get(place, 0)
            what = (
                f"entries of {place.index_name}, an index on {place.table}"
                if place.index_name
                else f"rows of {place.table}"
            )
            if count != right:
                lines.append(f"{name}: {count} {what}, where {right} were expected")
    return lines
