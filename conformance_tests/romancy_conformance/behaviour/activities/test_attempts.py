"""Attempts: what one is charged for, and by which key the world outside knows it."""

from __future__ import annotations

import asyncio
import contextlib
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.core import ActivityAttemptFailed, ActivityCancelled, ActivityFailed
from romancy.engine.activities import runner
from romancy.errors import StorageUnavailableError
from romancy.retry import Retry
from romancy.status import Status
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is
from romancy_conformance.changing import changed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@activity(retry=RetryPolicy.none())
async def keyed() -> str:
    return activity_context().idempotency_key


@activity(retry=RetryPolicy.none())
async def asks_for_a_session() -> int:
    context = activity_context()
    await context.session()
    return context.attempt


@workflow
async def keys_of_two_runs(ctx: WorkflowContext, former: list[str]) -> list[str]:
    key = await keyed()
    if not former:
        keys_of_two_runs.recur([key])
    return [*former, key]


calls_asks_for_a_session = calling(asks_for_a_session)


released: list[str] = []
may_end: list[asyncio.Event] = []
"""The last one belongs to the running test."""


@compensation
async def release(item: str) -> None:
    released.append(item)


@activity(compensation=release)
async def reserve(item: str) -> str:
    return item


@activity(retry=RetryPolicy.none())
async def does_not_stop() -> str:
    while not may_end[-1].is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await may_end[-1].wait()
    return "too late"


@activity(retry=RetryPolicy.none())
async def fails() -> None:
    raise ConnectionError("no")


@workflow
async def beside_one_that_does_not_stop(ctx: WorkflowContext) -> None:
    await reserve("room")
    await asyncio.gather(does_not_stop(), fails())


class Forgetful(WrappedStore):
    """A store that ends a caller's session without cause, so many times."""

    def __init__(self, store: Store, times: int) -> None:
        super().__init__(store)
        self.left = times
        self.services = store.services.wrapped(sessions=lambda sessions: changed(sessions, begin=self._begin))

    @asynccontextmanager
    async def _begin(self, **options: Any) -> AsyncGenerator[Any]:
        async with self._store.services.sessions.begin(**options) as session:
            if self.left:
                self.left -= 1
                raise StorageUnavailableError("chosen to give way")
            yield session


async def test_a_key_is_another_in_every_run_and_life_of_an_id(app: Romancy) -> None:
    """C9: a provider that has seen a key repeats its answer, and charges nothing."""
    told: list[str] = []
    for _ in range(2):
        handle = await app.start(keys_of_two_runs.options(instance_id="again"), [])
        told += await handle.result(timeout=60)
        assert await app.purge("again") == 1

    assert len(set(told)) == 4


async def test_an_attempt_whose_session_the_database_took_away_is_made_again_untold(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A7: the activity was not at fault, so the retry policy is not asked."""
    stores = wrap_stores(monkeypatch, lambda store: Forgetful(store, 2))
    app = await open_app()

    assert await app.run(calls_asks_for_a_session) == 1
    assert stores[0].left == 0


async def test_what_does_not_stop_does_not_keep_the_rest_from_being_undone(
    app: Romancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C8: it is settled after a deadline, with an unknown outcome."""
    monkeypatch.setattr(runner, "_LAST_WORD", 0.2)
    released.clear()
    may_end.append(asyncio.Event())

    try:
        handle = await app.start(beside_one_that_does_not_stop)
        with pytest.raises(WorkflowFailedError):
            await handle.result(timeout=60)
    finally:
        may_end[-1].set()

    log = await handle.history()
    assert [True] == [event.unknown for event in log if isinstance(event, ActivityCancelled)]
    assert ["room"] == released


class Severe(BaseException):
    """Like the exception of `pytest.fail`, or of Rust code that panics."""


@activity
async def panics() -> None:
    raise Severe("no Exception")


@activity
def panics_on_a_thread() -> None:
    raise Severe("no Exception")


@activity
async def panics_in_a_group() -> None:
    raise BaseExceptionGroup("two", [Severe("no Exception"), ValueError("one")])


@compensation
async def panics_as_it_undoes(item: str) -> None:
    raise Severe("no Exception")


@activity(compensation=panics_as_it_undoes)
async def can_hardly_be_undone(item: str) -> None: ...


SEVERE = {each.name: each for each in (panics, panics_on_a_thread, panics_in_a_group)}


@workflow
async def beyond_exceptions(ctx: WorkflowContext, how: str) -> None:
    await can_hardly_be_undone("room")
    await SEVERE[how]()


@pytest.mark.parametrize("how", SEVERE)
async def test_what_is_no_exception_fails_the_attempt_as_well(app: Romancy, how: str) -> None:
    """It is not retried, because the policy's default is `Exception`; but the failure is recorded."""
    handle = await app.start(beyond_exceptions, how)
    with pytest.raises(WorkflowFailedError, match="not compensated: compensate:can_hardly_be_undone:1"):
        await handle.result(timeout=60)

    (failed,) = [event for event in await handle.history() if isinstance(event, ActivityFailed)]
    assert failed.attempts == 1
    assert failed.error.type.rpartition(".")[2] == ("BaseExceptionGroup" if "group" in how else "Severe")


@activity(retry=RetryPolicy.fixed(2, 0.01))
def exits() -> None:
    raise SystemExit(2)


calls_exits = calling(exits)


async def test_what_wants_to_exit_on_a_thread_fails_the_attempt(app: Romancy) -> None:
    """As `argparse` does. It is no signal, and must not stop the worker with all its other work."""
    handle = await app.start(calls_exits)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)

    failed = [event for event in await handle.history() if isinstance(event, ActivityAttemptFailed | ActivityFailed)]
    assert ["romancy.errors.ActivityError"] * 2 == [one.error.type for one in failed]
    assert all("exits raised SystemExit, which does not end its worker: let it" in one.error.message for one in failed)


def raises_itself(error: Exception) -> bool:
    raise LookupError("no such code")


def exits_itself(error: Exception) -> bool:
    raise SystemExit(f"nobody knows {error}")


@activity(retry=RetryPolicy(retry_on=exits_itself))
async def judged_by_what_exits() -> None:
    raise ValueError("to be judged")


calls_judged_by_what_exits = calling(judged_by_what_exits)


async def test_a_filter_that_would_end_its_worker_ends_the_attempts(app: Romancy) -> None:
    handle = await app.start(calls_judged_by_what_exits)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)

    (failed,) = [event for event in await handle.history() if isinstance(event, ActivityFailed)]
    assert (failed.error.type, failed.error.message) == ("SystemExit", "nobody knows to be judged")


@activity(retry=RetryPolicy(retry_on=raises_itself))
async def judged_by_what_raises() -> None:
    raise ValueError("to be judged")


calls_judged_by_what_raises = calling(judged_by_what_raises)


async def test_a_filter_that_raises_ends_the_attempts(app: Romancy) -> None:
    """Nothing permits another attempt, and the failure reports both errors."""
    handle = await app.start(calls_judged_by_what_raises)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)

    (failed,) = [event for event in await handle.history() if isinstance(event, ActivityFailed)]
    assert (failed.error.type, failed.error.message, failed.attempts) == ("LookupError", "no such code", 1)
    assert failed.error.cause is not None
    assert (failed.error.cause.type, failed.error.cause.message) == ("ValueError", "to be judged")


class OddPolicy(RetryPolicy):
    """Gives answers that no policy of Romancy gives."""

    def decide(self, attempt: int, error: BaseException, chance: float = 0.0) -> Retry:
        return Retry(math.nan)


@activity(retry=OddPolicy())
async def judged_oddly() -> None:
    raise ValueError("to be judged")


calls_judged_oddly = calling(judged_oddly)


async def test_an_end_that_cannot_be_told_puts_its_instance_aside(
    app: Romancy, caplog: pytest.LogCaptureFixture
) -> None:
    """It would wait for ever for an attempt that no longer exists."""
    handle = await app.start(calls_judged_oddly)
    await status_is(app, handle.instance_id, Status.STUCK)

    instance = await app.get_instance(handle.instance_id)
    assert instance is not None
    assert "ValueError while driving: cannot convert float NaN to integer" in (instance.error or "")
    assert "could not record the outcome of the attempt" in caplog.text


@activity(retry=RetryPolicy.fixed(2, 0.01))
async def exits_at_once() -> None:
    raise SystemExit(2)


@workflow
async def goes_on_after_an_exit(ctx: WorkflowContext) -> str:
    try:
        await exits_at_once()
    except RetryExhaustedError as error:
        return f"{error.attempts} attempts: {error}"
    return "nothing"


@activity(retry=RetryPolicy.fixed(2, 0.01))
async def closes_itself(*, waits: bool) -> None:
    if waits:
        await asyncio.sleep(0)
    raise GeneratorExit


@activity(retry=RetryPolicy.fixed(2, 0.01))
def closes_itself_on_a_thread() -> None:
    raise GeneratorExit


@workflow
async def goes_on_after_a_close(ctx: WorkflowContext, how: str) -> str:
    try:
        await (closes_itself_on_a_thread() if how == "on a thread" else closes_itself(waits=how == "later"))
    except RetryExhaustedError as error:
        return f"{error.attempts} attempts: {error}"
    return "nothing"


@pytest.mark.parametrize("how", ["at once", "later", "on a thread"])
async def test_an_activity_that_raises_what_closes_a_coroutine_has_failed(app: Romancy, how: str) -> None:
    """It looks like the end of the loop, after which nothing is recorded: the workflow would wait for ever."""
    answer = await app.run(goes_on_after_a_close, how)
    assert answer.startswith("2 attempts: activity closes_itself")
    assert "raised GeneratorExit" in answer


async def test_an_activity_that_would_end_its_worker_has_failed(app: Romancy) -> None:
    answer = await app.run(goes_on_after_an_exit)
    assert answer.startswith("2 attempts: activity exits_at_once:1 failed")
    assert "exits_at_once raised SystemExit, which does not end its worker: let it return" in answer
