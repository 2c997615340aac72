"""How soon readers get what activities write to streams, and how many transactions that takes.

`python -m benchmarks.bench_streams [--streams 200] [--tokens 50] [--seconds 10] [backend …]` lets a worker run as many
activities, each of which writes so many tokens a second to a stream of its own instance. A follower of each instance
notes how long a token took from `write`. Half of the followers are of the worker's own app, half of one in another
process, where PostgreSQL tells of what comes, and the others are asked.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.databases import databases
from romancy import Romancy, Stream, WorkflowContext, activity, activity_context, workflow

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKENS = Stream("tokens", float)
"""Each token is the time at which it was written."""
_GATHERS = 5.0
"""Seconds until all followers have begun, those of the other process too."""


@activity
async def speak(rate: float, seconds: float, begins: float) -> int:
    """Write at this rate from that time on, when all who follow have begun."""
    await asyncio.sleep(max(0.0, begins - time.time()))
    stream, begun, count = activity_context().stream(TOKENS), time.time(), 0
    while (spent := time.time() - begun) < seconds:
        while count < spent * rate:
            stream.write(time.time())
            count += 1
        await asyncio.sleep(1 / rate)
    return count


@workflow
async def speaks(ctx: WorkflowContext, rate: float, seconds: float, begins: float) -> int:
    """One stream."""
    return await speak(rate, seconds, begins)


async def follow(app: Romancy, ids: Iterable[str]) -> list[float]:
    """Seconds that each token took, of all these instances."""

    async def one(instance_id: str) -> list[float]:
        return [time.time() - item.data async for item in app.stream_of(instance_id, TOKENS) if item.kind == "data"]

    return [took for each in await asyncio.gather(*map(one, ids)) for took in each]


async def elsewhere(url: str, ids: list[str]) -> list[float]:
    """The same in another process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.bench_streams", "--follow", url, *ids, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return msgspec.json.decode(out, type=list[float])


async def _follows(url: str, ids: list[str]) -> None:
    async with Romancy(url, worker=False) as app:
        print(msgspec.json.encode(await follow(app, ids)).decode())


async def measure(name: str, url: str, streams: int, rate: float, seconds: float) -> None:
    """Run everything once, and print a line."""
    ids = [f"s{number}" for number in range(streams)]
    async with Romancy(url, workflows=[speaks], max_activities=2 * streams) as app:
        writes = _counted(app)
        begins = time.time() + _GATHERS
        await app.start_many([speaks.options(instance_id=each).bind(rate, seconds, begins) for each in ids])
        here, there = await asyncio.gather(follow(app, ids[::2]), elsewhere(url, ids[1::2]))
        spent = time.time() - begins
        written = sum([await app.handle(each).result() for each in ids])
    if written != len(here) + len(there):
        raise SystemExit(f"{written} tokens were written, and {len(here) + len(there)} were read")
    figures = " | ".join(f"{1000 * _part(took, share):,.0f} ms" for took in (here, there) for share in (0.5, 0.99))
    print(f"| {name} | {written / seconds:,.0f} | {len(writes) / spent:.1f} | {figures} |", flush=True)


def _counted(app: Any) -> list[int]:
    """How many lines each write of the journal has, as they come."""
    writes: list[int] = []
    journal = app._access.store.services.journal
    write = journal.write

    async def counted(lines: Any) -> Any:
        writes.append(len(lines))
        return await write(lines)

    journal.write = counted
    return writes


def _part(took: list[float], share: float) -> float:
    return sorted(took)[min(len(took) - 1, int(share * len(took)))] if took else 0.0


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--follow"]:
        asyncio.run(_follows(sys.argv[2], sys.argv[3:]))
        return
    parser = argparse.ArgumentParser(description="Tokens of streams, from write to reader")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--tokens", type=float, default=50.0, help="a second, of each stream")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("backends", nargs="*", metavar="backend")
    wanted = parser.parse_args()
    print("| database | tokens a second | writes a second | here: p50 | p99 | in another process: p50 | p99 |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, url in databases(list(wanted.backends), folder):
            asyncio.run(measure(name, url, wanted.streams, wanted.tokens, wanted.seconds))


if __name__ == "__main__":
    main()
