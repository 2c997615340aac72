"""Questions: people answer what a workflow asks, from anywhere, and the first answer is the one that counts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventTimeoutError,
    Question,
    QuestionAnsweredError,
    QuestionNotFoundError,
    RefusedError,
    Romancy,
    SerializationError,
    Status,
    UsageError,
    WorkflowContext,
    workflow,
)
from romancy.core import MessageReceived, WaitTimedOut, said_in
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy import Handle
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@dataclass
class Trip:
    days: int
    to: str = "Rome"

    def __post_init__(self) -> None:
        if self.days > 30:
            raise ValueError("nobody travels so long")


@workflow
async def question_paid(ctx: WorkflowContext, amount: int, timeout: float | None = None) -> str:
    try:
        paid = await ctx.ask(f"Pay {amount} €?", name="payment", to="finance", timeout=timeout)
    except EventTimeoutError:
        return "nobody"
    return "paid" if paid else "kept"


@workflow
async def question_travels(ctx: WorkflowContext) -> str:
    trip = await ctx.ask("How long?", model=Trip, name="trip")
    return f"{trip.days} days to {trip.to}"


@workflow
async def question_raises(ctx: WorkflowContext, timeout: float | None = None) -> bool:
    """Fails if it is refused, or if nobody answers, or after the answer."""
    sure = await ctx.ask("Sure?", name="sure", timeout=timeout)
    if not await ctx.ask("Really?", name="really"):
        raise ValueError("not really")
    return sure


@workflow
async def question_first(ctx: WorkflowContext) -> bool:
    return await ctx.first(ctx.ask("You?", to="ann"), ctx.ask("Or you?", to="bob"))


@workflow
async def question_again(ctx: WorkflowContext, times: int) -> str:
    if await ctx.ask(f"Once more after {times}?"):
        question_again.recur(times + 1)
    return f"{times} times"


async def asked(app: Romancy, handle: Handle[Any], count: int = 1) -> list[Question]:
    """The open questions of an instance, once there are so many."""
    found: list[Question] = []

    async def so_many() -> bool:
        found[:] = (await app.questions(instance_id=handle.instance_id)).questions
        return len(found) == count

    await until(so_many)
    return found


async def said(handle: Handle[Any]) -> list[tuple[str, str | None]]:
    """What the log of an instance says was said, and by whom."""
    return [
        (said_in(one.message).how, said_in(one.message).by)
        for one in await handle.history()
        if isinstance(one, MessageReceived) and one.message.topic.kind == "question"
    ]


async def test_of_two_answers_from_two_processes_one_counts(app: Romancy, open_app: Open) -> None:
    other = await open_app(worker=False)
    for number in range(5):
        handle = await app.start(question_paid, number)
        (question,) = await asked(app, handle)
        assert (question.name, question.question, question.to) == ("payment", f"Pay {number} €?", "finance")
        assert (question.schema, question.due, question.workflow_name) == ({"type": "boolean"}, None, "question_paid")

        answers = await asyncio.gather(
            app.answer(question.token, data=True, by="ann"),
            other.answer(question.token, data=False, by="bob"),
            app.refuse(question.token, "no", by="eve"),
            return_exceptions=True,
        )

        refused = [one for one in answers if isinstance(one, QuestionAnsweredError)]
        assert len(refused) == 2, answers
        (won,) = [who for who, one in zip(("ann", "bob", "eve"), answers, strict=True) if one is None]
        assert {one.by for one in refused} == {won}
        if won == "eve":
            with pytest.raises(Exception, match="refused by eve: no"):
                await handle.result(timeout=60)
        else:
            assert await handle.result(timeout=60) == {"ann": "paid", "bob": "kept"}[won]
        assert [by for _, by in await said(handle)] == [won]
        with pytest.raises(QuestionAnsweredError) as late:
            await other.answer(question.token, data=True)
        assert late.value.by == won
    assert (await app.questions()).questions == []


async def test_an_answer_and_the_end_of_the_time_agree_on_which_was_first(app: Romancy, open_app: Open) -> None:
    other = await open_app(worker=False)
    outcomes: list[tuple[str, BaseException | None]] = []
    for wait in (0.0, 0.1, 0.2, 0.25, 0.3, 0.4):
        handle = await app.start(question_paid, 1, 0.2)
        (question,) = await asked(app, handle)
        assert question.due is not None
        await asyncio.sleep(wait)
        (answer,) = await asyncio.gather(other.answer(question.token, data=True), return_exceptions=True)
        outcomes.append((await handle.result(timeout=60), answer))
    for result, answer in outcomes:
        if answer is None:
            assert result == "paid"
        else:
            assert isinstance(answer, QuestionAnsweredError)
            assert (result, answer.how) == ("nobody", "expired")


async def test_data_that_does_not_fit_is_refused_to_its_sender(app: Romancy) -> None:
    handle = await app.start(question_travels)
    (question,) = await asked(app, handle)
    for misfit, words in (
        ("ten", "object is expected"),
        ({"days": "ten"}, "days"),
        ({"to": "Rome"}, "'days' is missing"),
    ):
        with pytest.raises(SerializationError, match=words):
            await app.answer(question.token, misfit)

    await app.answer(question.token, {"days": 31})  # only the class itself knows that this is no trip

    async def put_aside() -> bool:
        (again,) = await asked(app, handle)
        return again.token == question.token and "a check of its own class" in again.misfit

    await until(put_aside)
    await app.answer(question.token, Trip(3))
    assert await handle.result(timeout=60) == "3 days to Rome"


class LateStore(WrappedStore):
    """A store that delivers nothing until it is told to."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.asked, self.goes = asyncio.Event(), asyncio.Event()

    async def deliver(self, deliveries: Any, /) -> Any:
        self.asked.set()
        await self.goes.wait()
        return await self._store.deliver(deliveries)


async def test_an_answer_that_comes_behind_one_that_was_put_aside_counts(
    app: Romancy, open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = wrap_stores(monkeypatch, LateStore)
    other = await open_app(worker=False)
    handle = await app.start(question_travels)
    (question,) = await asked(app, handle)
    bob = asyncio.create_task(other.answer(question.token, Trip(3), by="bob"))
    await late[-1].asked.wait()
    await app.answer(question.token, {"days": 31}, by="ann")

    async def put_aside() -> bool:
        return (await asked(app, handle))[0].misfit != ""

    await until(put_aside)
    late[-1].goes.set()

    await bob

    assert await handle.result(timeout=60) == "3 days to Rome"
    assert await said(handle) == [("answer", "ann"), ("answer", "bob")]


async def test_a_question_is_over_with_its_instance_its_run_and_its_task(app: Romancy) -> None:
    cancelled = await app.start(question_paid, 1)
    (question,) = await asked(app, cancelled)
    await cancelled.cancel()
    await status_is(app, cancelled.instance_id, Status.CANCELLED)
    with pytest.raises(QuestionAnsweredError) as late:
        await app.answer(question.token, data=True)
    assert late.value.how == "withdrawn"

    first = await app.start(question_first)
    ann, bob = sorted(await asked(app, first, 2), key=lambda one: one.to or "")
    await app.answer(bob.token, data=True)
    assert await first.result(timeout=60) is True
    with pytest.raises(QuestionAnsweredError) as late:
        await app.answer(ann.token, data=True)
    assert late.value.how == "withdrawn"

    again = await app.start(question_again, 0)
    (before,) = await asked(app, again)
    await app.answer(before.token, data=True)
    await until(lambda: _is_another(app, again, before))
    (after,) = await asked(app, again)
    await app.answer(after.token, data=False)
    assert await again.result(timeout=60) == "1 times"
    for false in ("", "x", "a.b", f"{before.token}0", before.token.partition(".")[0] + "." + "0" * 32):
        with pytest.raises((QuestionNotFoundError, UsageError)):
            await app.answer(false, data=True)


async def _is_another(app: Romancy, handle: Handle[Any], before: Question) -> bool:
    found = (await app.questions(instance_id=handle.instance_id)).questions
    return [one.token for one in found] not in ([], [before.token])


async def test_a_retry_keeps_answers_and_asks_again_what_was_refused_or_too_old(app: Romancy) -> None:
    handle = await app.start(question_raises, 0.2)
    with pytest.raises(Exception, match="in time"):
        await handle.result(timeout=60)
    await app.retry(handle.instance_id)
    (sure,) = await asked(app, handle)
    await app.answer(sure.token, data=True)
    await until(lambda: _is_another(app, handle, sure))
    (really,) = await asked(app, handle)
    await app.refuse(really.token, "later")
    with pytest.raises(Exception, match="refused: later"):
        await handle.result(timeout=60)

    await app.retry(handle.instance_id)

    (again,) = await asked(app, handle)
    assert again.name == "really"
    assert again.token != really.token
    await app.answer(again.token, data=True)
    assert await handle.result(timeout=60) is True
    assert any(isinstance(one, WaitTimedOut) for one in await handle.history())


async def test_open_questions_come_in_pages(app: Romancy) -> None:
    for number in range(7):
        await app.start(question_paid, number)
    travels = [await app.start(question_travels) for _ in range(3)]

    async def all_there() -> bool:
        return len((await app.questions()).questions) == 10

    await until(all_there)
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = await app.questions(limit=4, cursor=cursor)
        pages.append([one.name for one in page.questions])
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert [name for page in pages for name in page] == ["trip"] * 3 + ["payment"] * 7
    assert [len(page) for page in pages] == [4, 4, 2]
    finance = await app.questions(to="finance", limit=200)
    since = [one.since for one in finance.questions]
    assert len(since) == 7
    assert since == sorted(since)
    assert (await app.questions(to="fin")).questions == []
    trips = (await app.questions(workflow_name="question_travels")).questions
    assert {one.instance_id for one in trips} == {one.instance_id for one in travels}
    assert (await app.questions(instance_id=travels[0].instance_id, to="finance")).questions == []


async def test_an_answer_commits_with_the_callers_transaction(app: Romancy, storage_url: str) -> None:
    opener = caller_for(storage_url)
    if opener is None:
        pytest.skip("capability: this database has no connections but the store's own")
    caller = await opener()
    handle = await app.start(question_paid, 1)
    (question,) = await asked(app, handle)
    await caller.begin()
    await caller.write("ann")
    await app.answer(question.token, data=False, session=caller.connection)
    await caller.roll_back()
    await caller.begin()
    await caller.write("bob")
    await app.answer(question.token, data=True, by="bob", session=caller.connection)
    await caller.commit()
    assert await handle.result(timeout=60) == "paid"
    assert await said(handle) == [("answer", "bob")]
    await caller.begin()
    assert await caller.names() == ["bob"]
    await caller.roll_back()
    await caller.close()


async def test_a_refusal_can_be_caught(app: Romancy) -> None:
    assert issubclass(RefusedError, Exception)
    handle = await app.start(question_paid, 1)
    (question,) = await asked(app, handle)
    await app.refuse(question.token, "too much", by="ann")
    with pytest.raises(Exception, match="'payment' was refused by ann: too much"):
        await handle.result(timeout=60)


async def test_the_database_holds_no_row_of_a_question_that_is_over(app: Romancy, store: Store) -> None:
    handle = await app.start(question_paid, 1)
    (question,) = await asked(app, handle)
    await app.answer(question.token, data=True)
    await handle.result(timeout=60)
    assert await store.services.lookups.questions_of(handle.instance_id, "", "z", 10) == []
