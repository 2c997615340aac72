"""A start that takes the place of an instance that has ended: once, by one commit, and nothing of the old is left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    InstanceConflictError,
    InstanceEndedError,
    InstanceNotFoundError,
    Romancy,
    Status,
    StorageUnavailableError,
    TerminalError,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.core import WorkflowStarted
from romancy.starting.checks import IfExists
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import hears
from romancy_conformance.behaviour.coded import SECRET, Masking
from romancy_conformance.behaviour.started_anew import keys, life_of, nothing_is_amiss
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy import Handle, PayloadContext
    from romancy_conformance.behaviour.opening import Open

__all__ = ["nothing_is_amiss"]

pytestmark = pytest.mark.anyio

SOON = 60.0
Said = EventType("said", str)
RESTARTS: tuple[IfExists, ...] = ("restart_ended", "restart_failed")
apps: list[Romancy] = []


@activity
async def anew_notes(what: str) -> str:
    keys.append(activity_context().idempotency_key)
    if what.startswith("bad"):
        raise TerminalError(what)
    return what


calls_anew_notes = calling(anew_notes)


@activity
async def anew_in_a_session(if_exists: IfExists, times: int, fails: int) -> str:
    session = await activity_context().session()
    try:
        for _ in range(times):
            await apps[0].start(ann, "new", session=session, if_exists=if_exists)
    except InstanceConflictError as error:
        return str(error)
    if activity_context().attempt <= fails:
        raise ConnectionError("the attempt leaves nothing")
    return "started"


calls_anew_in_a_session = calling(anew_in_a_session)


ann = calls_anew_notes.options(instance_id="ann")
ann_later = calls_anew_notes.options(instance_id="ann", delay=3600)


@workflow
async def anew_has_a_child(ctx: WorkflowContext) -> str:
    return await (await ctx.start(ann_later, "new")).result()


async def ended(app: Romancy, status: Status, instance_id: str = "ann") -> None:
    """Return an instance of this id that has ended in this way."""
    if status is Status.CANCELLED:
        handle: Handle[Any] = await app.start(calls_anew_notes.options(instance_id=instance_id, delay=3600), "old")
        await handle.cancel()
    else:
        said = "bad" if status is Status.FAILED else "old"
        handle = await app.start(calls_anew_notes.options(instance_id=instance_id), said)
    await status_is(app, instance_id, status)


@pytest.mark.parametrize("if_exists", RESTARTS)
@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
@pytest.mark.parametrize("by", ["a worker", "others"])
async def test_what_has_ended_makes_way(
    app: Romancy, open_app: Open, if_exists: IfExists, status: Status, by: str
) -> None:
    front = app if by == "a worker" else await open_app(worker=False)
    await ended(app, status)
    before = await life_of(app, "ann")

    if (if_exists, status) == ("restart_failed", Status.COMPLETED):
        with pytest.raises(InstanceConflictError, match="with another input"):
            await front.start(ann, "new", if_exists=if_exists)
        assert "old" == await (await front.start(ann, "old", if_exists=if_exists)).result(timeout=SOON)
        assert before == await life_of(app, "ann")
        return
    handle = await front.start(ann, "new", if_exists=if_exists)

    assert "new" == await handle.result(timeout=SOON)
    assert "new" == await app.handle("ann", calls_anew_notes).result(timeout=SOON)
    assert before != await life_of(app, "ann")
    (started,) = [event for event in await front.history("ann") if isinstance(event, WorkflowStarted)]
    assert b'{"what":"new"}' == bytes(started.input)
    assert len(keys) == len(set(keys)), "another life has other idempotency keys"


async def test_a_later_handle_does_not_get_the_end_of_a_former_life(app: Romancy, open_app: Open) -> None:
    """The process that ran the former life still knows its end, and nobody has told it of the new life."""
    former = await app.start(ann, "old")
    await status_is(app, "ann", Status.COMPLETED)
    front = await open_app(worker=False)
    await front.start(ann_later, "new", if_exists="restart_ended")

    with pytest.raises(TimeoutError):
        await app.handle("ann", calls_anew_notes).result(timeout=0.2)
    assert former.instance_id == "ann"


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "rolled back"])
async def test_a_later_handle_waits_for_what_a_transaction_began(
    app: Romancy, open_app: Open, storage_url: str, *, commits: bool
) -> None:
    """The process that ran the former life still knows its end, which counts until the transaction commits."""
    opener = caller_for(storage_url)
    if opener is None:
        pytest.skip("capability: this database has no connections but the store's own")
    former = await app.start(ann, "old")
    await status_is(app, "ann", Status.COMPLETED)
    front, caller = await open_app(worker=False), await opener()
    await caller.begin()
    await front.start(ann_later, "new", if_exists="restart_ended", session=caller.connection)
    await (caller.commit() if commits else caller.roll_back())
    await caller.close()

    if commits:
        with pytest.raises(TimeoutError):
            await app.handle("ann", calls_anew_notes).result(timeout=0.2)
    else:
        assert "old" == await app.handle("ann", calls_anew_notes).result(timeout=SOON)
    assert former.instance_id == "ann"


async def test_a_later_handle_waits_for_a_child_under_the_id(app: Romancy, open_app: Open) -> None:
    """Another process removes the former life and starts a parent, whose child has the id."""
    former = await app.start(ann, "old")
    await status_is(app, "ann", Status.COMPLETED)
    front = await open_app(worker=False)
    await front.purge("ann")
    with pytest.raises(InstanceNotFoundError):
        await app.handle("ann", calls_anew_notes).result(timeout=SOON)
    await front.start(anew_has_a_child)
    await status_is(app, "ann", Status.PENDING)

    with pytest.raises(TimeoutError):
        await app.handle("ann", calls_anew_notes).result(timeout=0.2)
    assert former.instance_id == "ann"


@pytest.mark.parametrize("if_exists", RESTARTS)
async def test_what_is_open_or_of_another_workflow_stays(app: Romancy, if_exists: IfExists) -> None:
    listens = hears.options(instance_id="ann")
    handle = await app.start(listens, "said", 1)
    assert handle.instance_id == (await app.start(listens, "said", 1, if_exists=if_exists)).instance_id
    with pytest.raises(InstanceConflictError, match="with another input"):
        await app.start(listens, "said", 2, if_exists=if_exists)
    await handle.cancel()
    await status_is(app, "ann", Status.CANCELLED)
    with pytest.raises(InstanceConflictError, match="of hears"):
        await app.start(ann, "new", if_exists=if_exists)
    assert Status.CANCELLED is await handle.status()


async def test_a_free_id_is_simply_started(app: Romancy) -> None:
    for number, if_exists in enumerate(RESTARTS):
        named = calls_anew_notes.options(instance_id=f"free-{number}")
        assert "new" == await app.run(named, "new", if_exists=if_exists)


async def test_many_by_name_and_later(app: Romancy) -> None:
    """`start_many`, a start by name and a delay behave like `start`."""
    for name in ("a", "b"):
        await ended(app, Status.FAILED, name)
    await ended(app, Status.COMPLETED, "c")
    calls = [calls_anew_notes.options(instance_id=name).bind(name) for name in ("a", "b", "c", "d")]

    with pytest.raises(InstanceConflictError) as told:
        await app.start_many(calls, if_exists="restart_failed")

    assert (("c",), {"a", "b", "d"}) == (told.value.conflicts, set(told.value.started))
    assert ["a", "b", "d"] == [await app.handle(name).result(timeout=SOON) for name in ("a", "b", "d")]
    by_name = app.workflow(calls_anew_notes.name).options(instance_id="c")
    assert "named" == await app.run(by_name, "named", if_exists="restart_ended")
    await app.start(calls_anew_notes.options(instance_id="d", delay=3600), "late", if_exists="restart_ended")
    assert Status.PENDING is await app.handle("d").status()
    await app.terminate("d")


@pytest.mark.parametrize("fails", [0, 1])
async def test_in_a_transaction_of_the_callers(app: Romancy, fails: int) -> None:
    apps[:] = [app]
    await ended(app, Status.FAILED)
    assert "started" == await app.run(calls_anew_in_a_session, "restart_failed", 1, fails)
    assert "new" == await app.handle("ann").result(timeout=SOON)
    assert "exists already" in await app.run(calls_anew_in_a_session, "refuse", 1, 0)
    assert "started in this very transaction" in await app.run(calls_anew_in_a_session, "restart_ended", 2, 0)
    assert "new" == await app.handle("ann").result(timeout=SOON)


class AwayCodec:
    """Its keys are away once it has sealed so much for a start: an input and a commit."""

    id = "away"

    def __init__(self) -> None:
        self.seals_yet: int | None = None

    def encode(self, data: bytes, context: PayloadContext) -> bytes:
        if self.seals_yet is not None:
            self.seals_yet -= 1
            if self.seals_yet < 0:
                raise StorageUnavailableError("the keys are away")
        return data[::-1]

    def decode(self, data: bytes, context: PayloadContext) -> bytes:
        return data[::-1]


away = AwayCodec()


@activity
async def anew_goes_on_without_it() -> str:
    session = await activity_context().session()
    away.seals_yet = 2
    try:
        await apps[0].start(ann, "new", session=session, if_exists="restart_ended")
    except StorageUnavailableError as error:
        return str(error)
    finally:
        away.seals_yet = None
    return "started"


calls_anew_goes_on_without_it = calling(anew_goes_on_without_it)


async def test_who_goes_on_after_an_error_has_lost_nothing(open_app: Open) -> None:
    """The old life had made way when the new one could not be written; the caller's transaction is committed."""
    apps[:] = [await open_app(codecs=[away])]
    await ended(apps[0], Status.COMPLETED)
    assert "the keys are away" == await apps[0].run(calls_anew_goes_on_without_it)
    assert "old" == await apps[0].handle("ann").result(timeout=SOON)


async def test_of_many_at_once_one_life_begins(app: Romancy, open_app: Open) -> None:
    others = [app, await open_app(), await open_app(worker=False)]
    await ended(app, Status.FAILED)
    keys.clear()

    handles = await asyncio.gather(*(one.start(ann, "new", if_exists="restart_failed") for one in others * 4))

    assert ["new"] * 12 == [await handle.result(timeout=SOON) for handle in handles]
    assert 1 == len(keys)


async def test_who_waits_is_told_of_no_other_life(app: Romancy, open_app: Open) -> None:
    """A caller that waits for the end of the replaced life gets its outcome, or the error that it is gone."""
    other, front = await open_app(), await open_app(worker=False)
    handle = await app.start(ann, "bad")
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=SOON)
    again = await front.start(ann_later, "old", if_exists="restart_ended")
    waiting = [asyncio.ensure_future(one.handle("ann").result(timeout=SOON)) for one in (app, other, front)]
    await until(lambda: all(one.watch("ann").waiting for one in (app, other, front)))
    assert await again.cancel("not any more")
    new = await front.start(ann, "new", if_exists="restart_failed") if await _is_over(front) else None
    answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert new is not None
    assert "new" == await new.result(timeout=SOON)
    assert "new" == await handle.result(timeout=SOON), "asked anew, it is about what is there"
    for answer in answers:
        assert isinstance(answer, (WorkflowCancelledError, InstanceNotFoundError)), answer


async def _is_over(app: Romancy) -> bool:
    await status_is(app, "ann", Status.CANCELLED)
    return True


async def test_a_new_life_has_no_mail_of_the_old_one_and_remembers_no_ids(app: Romancy) -> None:
    listens = hears.options(instance_id="ear")
    old = await app.start(listens, "said", 1)
    await old.signal(Said, "a", id="1")
    await old.result(timeout=SOON)

    new = await app.start(listens, "said", 2, if_exists="restart_ended")
    await new.signal(Said, "b", id="1")
    await new.signal(Said, "b again", id="1")
    await new.signal(Said, "c", id="2")

    assert ["b", "c"] == await new.result(timeout=SOON)


async def test_a_signal_that_starts_anew(app: Romancy, open_app: Open) -> None:
    front = await open_app(worker=False)
    listens = hears.options(instance_id="ear").bind("said", 1)
    assert ["a"] == await (await front.signal_with_start(listens, Said, "a", id="1")).result(timeout=SOON)
    with pytest.raises(InstanceEndedError):
        await front.signal_with_start(listens, Said, "b", id="2", if_exists="restart_failed")
    again = await front.signal_with_start(listens, Said, "a", id="1", if_exists="restart_ended")
    assert ["a"] == await again.result(timeout=SOON), "it was sent again, and had been received"

    sent = (one.signal_with_start(listens, Said, "b", id="2", if_exists="restart_ended") for one in [app, front] * 3)
    handles = await asyncio.gather(*sent)

    assert [["b"]] * 6 == [await handle.result(timeout=SOON) for handle in handles]
    assert 1 == sum(isinstance(event, WorkflowStarted) for event in await app.history("ear"))
    with pytest.raises(UsageError, match="is for start"):
        await front.signal_with_start(listens, Said, "c", if_exists="refuse")


async def test_behind_a_codec(open_app: Open) -> None:
    app = await open_app(codecs=[Masking()])
    await ended(app, Status.FAILED)
    assert SECRET == await (await app.start(ann, SECRET, if_exists="restart_failed")).result(timeout=SOON)
