"""Questions in a test: answered by the test, in its time, and through any death of the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import EventTimeoutError, RefusedError, Romancy, Status, UsageError, WorkflowContext, workflow
from romancy.errors import RegistrationError
from romancy.sync import SyncRomancy
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from romancy import Handle, Question
    from romancy.serialization import PayloadContext

pytestmark = pytest.mark.anyio

DAY = 86_400


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@workflow
async def approved(ctx: WorkflowContext, timeout: float | None = DAY) -> str:
    try:
        first = await ctx.ask("Pay?", name="pay", to="ann", timeout=timeout)
        rate = await ctx.ask("At which rate?", model=float, name="rate")
    except RefusedError as refused:
        return f"{refused.question} refused by {refused.by}: {refused.reason}"
    except EventTimeoutError:
        return "too late"
    return f"{first} at {rate}"


@workflow
async def asks_badly(ctx: WorkflowContext, case: str) -> str:
    cases: dict[str, dict[str, Any]] = {
        "empty": {"question": " "},
        "long": {"question": "é" * 10_000},
        "to": {"question": "?", "to": ""},
        "name": {"question": "?", "name": ""},
        "time": {"question": "?", "timeout": -1},
        "type": {"question": "?", "model": 5},
    }
    try:
        await ctx.ask(**cases[case])
    except (RegistrationError, UsageError) as error:
        return str(error)
    return "asked"


async def open_question(app: Romancy) -> Question:
    """The one that is open, once there is one."""
    while not (found := (await app.questions()).questions):
        pass
    (question,) = found
    return question


async def test_a_test_answers_and_lets_the_time_pass() -> None:
    async with TestApp([approved], skip=False) as app:
        handle = await app.start(approved)
        await app.settle()
        await app.answer((await open_question(app)).token, data=True)
        await app.settle()
        await app.answer((await open_question(app)).token, 2.5)
        assert await handle.result() == "True at 2.5"

        late = await app.start(approved)
        await app.settle()
        question = await open_question(app)
        assert question.due is not None
        assert (question.due - question.since).total_seconds() == pytest.approx(DAY, abs=1)
        await app.advance(DAY + 1)
        assert await late.result() == "too late"
        assert (await app.questions()).questions == []


async def test_why_says_who_is_asked_what() -> None:
    async with TestApp([approved], skip=False) as app:
        handle = await app.start(approved, None)
        await app.settle()
        said = " ".join(await handle.explain())
        assert "It asks 'pay' to ann" in said, said
        assert "romancy ask" in said


@pytest.mark.parametrize("said", ["answered", "refused"])
async def test_why_says_that_no_worker_has_taken_an_answer(said: str) -> None:
    async with TestApp([approved], skip=False) as app:
        handle = await app.start(approved, None)
        await app.settle()
        question = await open_question(app)
        await handle.pause("audit")
        await app.settle()
        if said == "answered":
            await app.answer(question.token, data=True)
        else:
            await app.refuse(question.token, "no")
        told = " ".join(await handle.explain())
        assert f"The question 'pay' was {said}" in told
        assert "has not taken it yet" in told or "no worker has taken it" in told
        await handle.unpause()
        await app.settle()
        assert "The question 'pay'" not in " ".join(await handle.explain())


async def test_a_question_survives_a_death_at_every_commit() -> None:
    async def drive(app: TestApp, handle: Handle[Any]) -> None:
        for name, data in (("pay", True), ("rate", 1.5)):
            token = await token_of(app, handle, name)
            if token is not None:
                await app.answer(token, data, by="test")

    crashes = await crash_at_every_commit(approved.bind(None), drive=drive)
    assert {one.result for one in crashes} == {"True at 1.5"}
    assert len(crashes) >= 3


async def token_of(app: TestApp, handle: Handle[Any], name: str) -> str | None:
    """The token of the question with this name, once it is open. None: the instance has got past it."""
    while True:
        await app.settle()
        found = (await app.questions(instance_id=handle.instance_id)).questions
        instance = await app.get_instance(handle.instance_id)
        if found and found[0].name == name:
            return found[0].token
        if (found and name == "pay") or (instance is not None and instance.status is Status.COMPLETED):
            return None


@pytest.mark.parametrize("case", ["empty", "long", "to", "name", "time", "type"])
async def test_what_nobody_can_be_asked_is_refused(case: str) -> None:
    async with TestApp([asks_badly]) as app:
        assert await app.run(asks_badly, case) != "asked"


class Turned:
    """A codec that turns bytes round."""

    id = "turned"

    def encode(self, raw: bytes, context: PayloadContext) -> bytes:
        return raw[::-1]

    def decode(self, raw: bytes, context: PayloadContext) -> bytes:
        return raw[::-1]


async def test_what_is_asked_is_sealed(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/sealed.db"
    async with Romancy(url, workflows=[approved], codecs=[Turned()]) as app:
        handle = await app.start(approved)
        question = await open_question(app)
        assert question.question == "Pay?"
        async with Romancy(url, workflows=[approved], worker=False) as stranger:
            sealed = await open_question(stranger)
            assert (sealed.sealed, sealed.question, sealed.to, sealed.token) == (True, "", "ann", question.token)
        for name in ("sealed.db", "sealed.db-wal"):
            assert b"Pay?" not in (tmp_path / name).read_bytes()
        await app.refuse(question.token, "no", by="eve")
        assert await handle.result(timeout=60) == "pay refused by eve: no"


def test_code_without_await_answers(tmp_path: Any) -> None:
    with SyncRomancy(f"sqlite:///{tmp_path}/sync.db", workflows=[approved]) as app:
        handle = app.start(approved)
        while not (found := app.questions(to="ann").questions):
            pass
        app.refuse(found[0].token, "no", by="bob")
        assert handle.result(timeout=60) == "pay refused by bob: no"


async def test_the_end_of_the_time_survives_a_death_at_every_commit() -> None:
    crashes = await crash_at_every_commit(approved.bind(5))
    assert {one.result for one in crashes} == {"too late"}
    assert len(crashes) >= 3


class NoData:
    """Has no JSON form."""


@workflow
async def waits_badly(ctx: WorkflowContext) -> str:
    try:
        await ctx.wait_event("paid", model=NoData)
    except RegistrationError as error:
        return str(error)
    return "received"


async def test_a_type_that_no_event_can_have_is_refused_before_the_wait() -> None:
    async with TestApp([waits_badly]) as app:
        assert "data of event 'paid'" in await app.run(waits_badly)
