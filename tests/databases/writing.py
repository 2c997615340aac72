"""The processes of a former version that fill a database and die: `python -m tests.databases.writing PART URL FILE`.

They run with the former version in front of `PYTHONPATH`, so they use only what every kept version has. Each part
writes to the file which activities it ran.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from romancy import Romancy, Status, Workflow
from tests.databases import programs as p

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FAR = 80 * 365 * 86_400.0
"""Seconds until long after every test."""

AT_WORK: dict[str, tuple[Any, str]] = {
    "line": (p.kept_line.bind("Ada", 1), "hold"),
    "fork": (p.kept_fork.bind(), "three"),
    "mail": (p.kept_hold_and_hear.bind(3), "hold"),
    "mail known": (p.kept_hold_and_hear.bind(2), "hold"),
    "parent beside": (p.kept_parent_beside.bind("child beside"), "beside"),
    "retrying": (p.kept_retrying.bind(), "try"),
    "beating": (p.kept_beating.bind(), "beat"),
    "saga compensating": (p.kept_saga.bind("a fund that hangs"), "refund a fund that hangs"),
    "cleaning": (p.kept_cleaning.bind(), "work"),
    "cancel asked": (p.kept_line.bind("Bob", 1), "hold"),
    "limits due": (p.kept_limits.bind(3.0), "limited"),
    "limits far": (p.kept_limits.bind(FAR), "limited"),
    "race": (p.kept_race.bind(), "race"),
    "patched": (p.kept_patched.bind(), "patched"),
}
"""What is started, and the activity during which its worker dies."""

AT_REST: dict[str, tuple[Any, Status]] = {
    "nap due": (p.kept_nap.bind(3.0), Status.WAITING),
    "nap far": (p.kept_nap.bind(FAR), Status.WAITING),
    "hear": (p.kept_hear.bind(2), Status.WAITING),
    "hear due": (p.kept_hear.bind(1, 3.0), Status.WAITING),
    "hear far": (p.kept_hear.bind(1, FAR), Status.WAITING),
    "hear mailed": (p.kept_hear.bind(1), Status.WAITING),
    "parent": (p.kept_parent.bind("child"), Status.WAITING),
    "parent mailed": (p.kept_parent.bind("child mailed"), Status.WAITING),
    "parent of a line": (p.kept_parent_of_a_line.bind(), Status.WAITING),
    "parent cancel asked": (p.kept_parent.bind("child cancelled"), Status.WAITING),
    "saga failed": (p.kept_saga.bind("a fund"), Status.FAILED),
    "saga unsure": (p.kept_saga.bind("a fund that breaks"), Status.FAILED),
    "plain failed": (p.kept_plain.bind(), Status.WAITING),
    "held again": (p.kept_held_again.bind(), Status.FAILED),
    "cancelled": (p.kept_hear.bind(1), Status.WAITING),
    "terminated": (p.kept_hear.bind(1), Status.WAITING),
    "completed": (p.kept_nap.bind(0.0), Status.COMPLETED),
    "counter": (p.kept_counter.bind(1), Status.WAITING),
    "counter mailed": (p.kept_counter.bind(1), Status.WAITING),
    "delayed far": (p.kept_nap.bind(0.0), Status.PENDING),
    "delayed due": (p.kept_nap.bind(0.5), Status.PENDING),
}
"""What is started, and the status that it reaches."""

DELAYS = {"delayed far": FAR, "delayed due": 3.0}


def secret_of(instance_id: str) -> str:
    return f"the secret of {instance_id} " * 20


async def start(app: Romancy, instance_id: str, call: Any) -> None:
    named = call.workflow.options(instance_id=instance_id, delay=DELAYS.get(instance_id))
    await app.start_many([named.bind(*call.args)])


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    while not await holds():  # noqa: ASYNC110 - the database is asked, which tells nobody of its own accord
        await asyncio.sleep(0.02)


async def comes_to(app: Romancy, instance_id: str, status: Status) -> None:
    async def has_it() -> bool:
        found = await app.get_instance(instance_id)
        return found is not None and found.status is status

    await until(has_it)


async def is_at(instance_id: str, what: str, *, times: int = 1) -> None:
    async def ran() -> bool:
        found = [call for call in p.calls if call.what == what and call.instance_id.startswith(instance_id)]
        return len(found) >= times

    await until(ran)


async def has(app: Romancy, instance_id: str, event: str) -> None:
    async def is_there() -> bool:
        return event in [type(one).__name__ for one in await app.history(instance_id)]

    await until(is_there)


async def before(url: str) -> None:
    """Start an instance whose code changes later, and those of an app with codecs. The worker stops in order."""
    async with Romancy(url, workflows=[p.kept_changed], worker_id="before", lease=2.0) as app:
        await start(app, "changed", p.kept_changed.bind())
        await comes_to(app, "changed", Status.WAITING)
    app = Romancy(url, workflows=[p.kept_coded], codecs=p.CODECS, worker_id="coded", lease=2.0)
    await app.__aenter__()  # never left: the process dies
    for instance_id in ("coded at work", "coded at rest", "coded mailed"):
        await start(app, instance_id, p.kept_coded.bind(secret_of(instance_id)))
        await comes_to(app, instance_id, Status.WAITING)
    await app.signal("coded at work", p.Word, "go")
    await is_at("coded at work", secret_of("coded at work"), times=2)


async def amid(url: str) -> None:
    """The worker dies in the middle of everything."""
    p.world.changed = True
    known: list[Workflow[..., Any]] = [
        each for each in vars(p).values() if isinstance(each, Workflow) and each is not p.kept_coded
    ]
    app = Romancy(url, workflows=known, worker_id="amid", lease=2.0)
    await app.__aenter__()  # never left: the process dies
    for instance_id, (call, _) in (AT_WORK | AT_REST).items():
        await start(app, instance_id, call)
    for instance_id, (_, what) in AT_WORK.items():
        await is_at(instance_id, what)
    for instance_id, (_, status) in AT_REST.items():
        await comes_to(app, instance_id, status)
    await is_at("parent of a line.", "hold")
    for child in ("child", "child beside", "child mailed", "child cancelled"):
        await comes_to(app, child, Status.WAITING)
    for instance_id, word in [("hear", "one"), ("mail known", "one"), ("mail known", "two"), ("changed", "go")]:
        await app.signal(instance_id, p.Word, word)
    await has(app, "hear", "MessageReceived")
    await app.signal("plain failed", p.Word, "go")
    await comes_to(app, "plain failed", Status.FAILED)
    await comes_to(app, "changed", Status.STUCK)
    await start(app, "parent again", p.kept_parent_again.bind())
    await comes_to(app, "parent again", Status.FAILED)
    p.world.repaired = True
    await app.retry("held again")
    await is_at("held again", "ship", times=2)
    await app.cancel("cleaning")
    await is_at("cleaning", "clean up")
    await comes_to(app, "cleaning", Status.CANCELLING)
    await app.cancel("cancelled")
    await comes_to(app, "cancelled", Status.CANCELLED)
    await app.terminate("terminated")
    await has(app, "retrying", "ActivityAttemptFailed")
    await has(app, "beating", "ActivityAttemptFailed")
    await more(app)


async def more(app: Romancy) -> None:
    """Retry a parent and its child, send mail by its id, start by a signal."""
    await app.retry("parent again")
    await is_at("child again", "ship", times=2)
    await start(app, "hear once", p.kept_hear.bind(2))
    await app.signal("hear once", p.Word, "one", id="1")
    await has(app, "hear once", "MessageReceived")
    await app.signal_with_start(p.kept_hold_and_hear.options(instance_id="begun by a word").bind(1), p.Word, "one")
    await is_at("begun by a word", "hold")


async def after(url: str) -> None:
    """An app without a worker starts, sends mail and cancels; no worker acts on it."""
    async with Romancy(url, worker=False, codecs=p.CODECS, workflows=[]) as app:
        for instance_id in ("mail", "mail", "mail", "hear mailed", "child mailed", "race", "counter mailed"):
            await app.signal(instance_id, p.Word, f"word for {instance_id}")
        await app.signal("coded mailed", p.Word, "word for coded mailed")
        for instance_id in ("cancel asked", "parent cancel asked"):
            await app.cancel(instance_id)
    async with Romancy(url, worker=False, workflows=[p.kept_line, p.kept_nap, p.kept_hear]) as app:
        await start(app, "pending line", p.kept_line.bind("Eve", 1))
        await start(app, "pending nap", p.kept_nap.bind(1.0))
        calls = [p.kept_nap.options(instance_id=f"pending {n}").bind(0.0) for n in range(3)]
        await app.start_many(calls)
        await start(app, "pending hear", p.kept_hear.bind(1, 1.0))
        await app.start(app.workflow("kept_line").options(instance_id="pending by name"), customer="Zoe", number=1)


PARTS = {"before": before, "amid": amid, "after": after}


def main(part: str, url: str, file: str) -> None:
    p.world.holding = True
    asyncio.run(_to_the_end(part, url, file))


async def _to_the_end(part: str, url: str, file: str) -> None:
    async with asyncio.timeout(120):
        await PARTS[part](url)
    die(file)


def die(file: str) -> NoReturn:
    """End like a killed process: close nothing and release nothing."""
    Path(file).write_text(json.dumps(p.calls), encoding="utf-8")
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
