"""A program as a workflow: the activities that write the ledger, and the world of a run on a worker."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from romancy import (
    RetryPolicy,
    TerminalError,
    WorkflowContext,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy_conformance.chaos.ledger import DONE, PHANTOM, UNDONE, insert, times, undone_before
from romancy_conformance.chaos.performing import perform
from romancy_conformance.chaos.plain import GUESSED, PLAIN, act_outside, is_plain
from romancy_conformance.chaos.posting import ANNOUNCED, SENDING, UNSENT, DurablePost
from romancy_conformance.chaos.programs import Program
from romancy_conformance.chaos.stage import APPS

if TYPE_CHECKING:
    from datetime import datetime

    from romancy_conformance.chaos.interpreting import Launched, Registered

__all__ = ["ACTIVITIES", "UNDOS", "WORKFLOWS", "call_of", "chaos_program", "chaos_starter"]

_PATIENT = RetryPolicy.fixed(12, 0.01)
_WAITS = RetryPolicy(10_000, 0.1, 1.0, 0.1, record="last")
_POLLS = RetryPolicy(12, 0.01, 1.0, 0.01, record="last")
_BODY: ContextVar[str] = ContextVar("_BODY", default="no body")
"""Set by each body, for its activities."""
_LEAKS: set[asyncio.Task[None]] = set()


async def _write(key: str, what: str = DONE) -> str:
    context = activity_context()
    db = await context.session()
    number = await undone_before(db, context.instance_id) if what == UNDONE else 0
    if what == DONE and _BODY.get() != context.instance_id:
        await insert(db, context, f"in the context of {_BODY.get()}", PHANTOM)
    await insert(db, context, key, what, number)
    return key


async def _announce_unsent(key: str) -> None:
    """Publish in an attempt that does not complete."""
    context = activity_context()
    await context.publish(ANNOUNCED, UNSENT, key=f"{context.instance_id}/{key}")


@compensation(retry=_PATIENT)
async def chaos_release(key: str, count: int) -> None:
    await _write(key, UNDONE)


@activity(retry=_PATIENT)
async def chaos_annul(key: str) -> None:
    await _write(key, UNDONE)


@activity(commit="lazy", retry=_PATIENT)
async def chaos_annul_lazily(key: str) -> None:
    await _write(key, UNDONE)


@activity
async def chaos_step(key: str, count: int) -> str:
    await asyncio.sleep(count * 0.003)
    return key


@activity(retry=_PATIENT)
def chaos_sync(key: str, count: int) -> str:
    time.sleep(count * 0.003)
    return key


@activity(retry=_PATIENT)
async def chaos_write(key: str, count: int) -> str:
    await asyncio.sleep(count * 0.003)
    return await _write(key)


@activity(compensation=chaos_release, retry=_PATIENT)
async def chaos_reserve(key: str, count: int) -> str:
    written = await _write(key)
    await asyncio.sleep(count * 0.003)
    return written


@activity(retry=_PATIENT)
async def chaos_savepoint(key: str, count: int) -> str:
    """One part is undone, and one stays."""
    db = await activity_context().session()
    try:
        async with db.savepoint():
            await _write(key, PHANTOM)
            raise LookupError(key)
    except LookupError:
        return await _write(key)


@activity(retry=_POLLS)
async def chaos_flaky(key: str, count: int) -> str:
    await _write(key)
    if activity_context().attempt <= count:
        raise ConnectionError(f"attempt {activity_context().attempt} of {count}")
    return key


@activity(commit="lazy")
async def chaos_quick(key: str, count: int) -> str:
    return key


@activity(commit="lazy", retry=_PATIENT)
async def chaos_quick_write(key: str, count: int) -> str:
    """A lazy activity whose session commits at once."""
    return await _write(key)


@activity(commit="lazy", retry=_PATIENT)
async def chaos_quick_flaky(key: str, count: int) -> str:
    if activity_context().attempt <= count:
        raise ConnectionError(f"attempt {activity_context().attempt} of {count}")
    return key


@activity
async def chaos_doomed(key: str, count: int) -> str:
    await _write(key, PHANTOM)
    await _announce_unsent(key)
    raise TerminalError(key)


@activity(retry=RetryPolicy.fixed(2, 0.01))
async def chaos_exhausted(key: str, count: int) -> str:
    await _write(key, PHANTOM)
    raise ConnectionError(key)


@activity(compensation=chaos_release, compensate="attempted", retry=RetryPolicy.fixed(2, 0.01))
async def chaos_gamble(key: str, count: int) -> str:
    """Fail for good, after something that has to be undone if the workflow fails."""
    await _write(key, PHANTOM)
    await _announce_unsent(key)
    raise ConnectionError(key)


@activity(retry=_PATIENT)
async def chaos_leaky(key: str, count: int) -> str:
    """The first attempt fails, but a task that kept its session continues to write."""
    context = activity_context()
    db = await context.session()
    if context.attempt > 1:
        await insert(db, context, key, DONE)
        return key

    async def write_on() -> None:
        for _ in range(20):
            with suppress(Exception):  # any error is right
                await insert(db, context, key, PHANTOM)
            await asyncio.sleep(count * 0.005)

    task = asyncio.create_task(write_on())
    _LEAKS.add(task)
    task.add_done_callback(_LEAKS.discard)
    raise ConnectionError("the first attempt")


@activity(retry=_PATIENT)
async def chaos_long(key: str, count: int) -> str:
    """Keep a session open for longer than a short lease lasts."""
    written = await _write(key)
    await asyncio.sleep(3)
    return written


@activity
async def chaos_hold(key: str, count: int) -> str:
    await _announce_unsent(key)
    await asyncio.sleep(86_400)
    return key


@activity(compensation=chaos_release, retry=_PATIENT)
async def chaos_keep(key: str, count: int) -> str:
    """Act after it was asked to stop: that is to be recorded, and undone if the workflow fails."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(86_400)
    act_outside()
    return await _write(key)


@activity(retry=_WAITS)
async def chaos_relents(key: str, count: int) -> str:
    """Fail until the reservation of this key was undone so often; a child fails once its sibling has reserved."""
    context = activity_context()
    db = await context.session()
    undone = await times(db, context.instance_id, key, UNDONE)
    if undone >= count:
        return key
    root, kin, _ = context.instance_id.partition(".k")
    if kin and await times(db, f"{root}.ka", key, DONE) <= undone:
        raise ConnectionError("the sibling has not reserved yet")
    await insert(db, context, key, PHANTOM)
    raise TerminalError(key)


@activity(retry=_WAITS)
async def chaos_mended(key: str, count: int) -> str:
    """Wait until the parent has undone its reservation so often."""
    context = activity_context()
    db = await context.session()
    if await times(db, context.instance_id.partition(".k")[0], key, UNDONE) < count:
        raise ConnectionError("the parent fails once more")
    return key


@activity(retry=_PATIENT)
async def chaos_spawn(key: str, program: Any) -> str:
    """Start an independent workflow in this session: it exists if and only if the session's row does."""
    context = activity_context()
    session = await context.session()
    await insert(session, context, key, DONE)
    await APPS.get()[False].start_many([call_of(msgspec.convert(program, Program))], session=session)
    return key


ACTIVITIES: dict[str, Any] = {
    "step": chaos_step,
    "sync": chaos_sync,
    "write": chaos_write,
    "reserve": chaos_reserve,
    "savepoint": chaos_savepoint,
    "flaky": chaos_flaky,
    "doomed": chaos_doomed,
    "exhausted": chaos_exhausted,
    "guess": chaos_doomed.or_default(GUESSED),
    "gamble": chaos_gamble.or_default(GUESSED),
    "leaky": chaos_leaky,
    "long": chaos_long,
    "hold": chaos_hold,
    "keep": chaos_keep,
    "quick": chaos_quick,
    "quick_write": chaos_quick_write,
    "quick_flaky": chaos_quick_flaky,
    "relents": chaos_relents,
    "mended": chaos_mended,
    **SENDING,
}
UNDOS: dict[str, Any] = {"annul": chaos_annul, "annul_lazily": chaos_annul_lazily}
"""The activities that a program registers as undos."""


class _Durable:
    """The world of one run."""

    def __init__(self, ctx: WorkflowContext, program: Program, run: int) -> None:
        self._ctx = ctx
        self._program = program
        self._run = run
        self.post = DurablePost(ctx)

    async def do(self, what: str, key: str, count: int = 0) -> str:
        plain = PLAIN.get(what) if is_plain(self._ctx.instance_id, key) else None
        return str(await (plain or ACTIVITIES[what])(key, count))

    async def hear(self, name: str, timeout: float | None = None) -> int:
        return (await self._ctx.wait_event(name, model=int, timeout=timeout)).data

    async def child(self, program: Program) -> Any:
        return await chaos_program.options(instance_id=program.path)(msgspec.to_builtins(program), 0)

    async def late(self, program: Program, seconds: float) -> Any:
        child = chaos_program.options(instance_id=program.path, timeout=seconds)
        return await child(msgspec.to_builtins(program), 0)

    async def launch(self, program: Program) -> Launched:
        child = chaos_program.options(instance_id=program.path)
        return await self._ctx.start(child, msgspec.to_builtins(program), 0)

    async def spawn(self, program: Program) -> None:
        await chaos_spawn(f"spawn-{program.path}", msgspec.to_builtins(program))

    def now(self) -> float:
        return self._ctx.now().timestamp()

    def is_retried(self) -> bool:
        return bool(self._program.failures)

    def draw(self) -> str:
        return f"{self._ctx.uuid4()} {self._ctx.random().random()}"

    def on_undo(self, what: str, key: str) -> Registered:
        return self._ctx.on_undo((PLAIN if is_plain(self._ctx.instance_id, key) else UNDOS)[what], key)

    def recur(self) -> Any:
        chaos_program.recur(msgspec.to_builtins(self._program), self._run + 1)


@workflow(version="1")
async def chaos_program(ctx: WorkflowContext, program: Any, run: int) -> Any:
    read = msgspec.convert(program, Program)
    _BODY.set(ctx.instance_id)
    return await perform(_Durable(ctx, read, run), read, run)


@workflow(version="1")
async def chaos_starter(ctx: WorkflowContext, program: Any) -> None:
    """Start an instance in a session: its only activity is `chaos_spawn`."""
    await chaos_spawn(f"spawn-{msgspec.convert(program, Program).path}", program)


WORKFLOWS = (chaos_program, chaos_starter)


def call_of(program: Program, delay: float | None = None, at: datetime | None = None) -> Any:
    """Return the program as a call to start; some have a limit that they do not reach."""
    limit = 7 * 86_400 if crc32(program.path.encode()) % 3 == 0 else None
    bound = chaos_program.options(instance_id=program.path, delay=delay, at=at, timeout=limit)
    return bound.bind(msgspec.to_builtins(program), 0)
