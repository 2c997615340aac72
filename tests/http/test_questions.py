"""Questions over HTTP: listed, answered and refused, by those who may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Codecs, Romancy, WorkflowContext, workflow
from romancy.http import Visitor, anyone, asgi
from romancy_conformance.behaviour.coded import Masking
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

LIMIT = 30


@workflow
async def promoted(ctx: WorkflowContext, name: str) -> str:
    grade = await ctx.ask(f"Which grade for {name}?", model=int, name="grade", to="board", timeout=86_400)
    return f"{name}: {grade}"


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[promoted]) as app:
        yield app


async def listed(client: Client, query: str = "") -> list[dict[str, Any]]:
    """The open questions, once there are some."""
    while not (found := (await client.get(f"/questions{query}")).json["questions"]):
        pass
    return list(found)


async def test_a_question_is_listed_and_answered_once(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    handle = await app.start(promoted, "ann")
    (question,) = await listed(client, "?to=board&limit=5")
    assert (question["question"], question["schema"], question["to"], question["name"]) == (
        "Which grade for ann?", {"type": "integer"}, "board", "grade",
    )  # fmt: skip
    assert question["since"] < question["due"]
    route = f"/questions/{question['token']}"

    misfit = await client.post(f"{route}/answer", b'"nine"')
    assert (misfit.status, misfit.json["error_type"]) == (400, "ValidationError")
    assert (await client.post(f"{route}/answer?by=eve", b"9")).json == {"status": "done"}
    late = await client.post(f"{route}/refuse", b'{"reason": "no"}')
    assert (late.status, late.json["how"], late.json["by"]) == (409, "answered", "eve")
    assert await handle.result(LIMIT) == "ann: 9"
    assert (await client.get("/questions")).json == {"questions": [], "next_page": None}
    false = await client.post("/questions/x.y/answer", b"9")
    assert (false.status, false.json["error_type"]) == (404, "QuestionNotFoundError")
    for wrong in ("/questions?limit=0", "/questions?limit=201", "/questions?page=x", "/questions?from=board"):
        assert (await client.get(wrong)).status == 400


async def test_who_may_answer_sees_tokens_and_answers_by_name(app: Romancy) -> None:
    clerk = Client(asgi(app, auth=lambda _: Visitor("ann", actions={"signal"})))
    chief = Client(asgi(app, auth=lambda _: Visitor("bob", actions={"answer"})))
    handle = await app.start(promoted, "ann")
    (question,) = await listed(chief)
    route = f"/questions/{question['token']}"
    assert (await clerk.get("/questions")).status == 403
    assert (await clerk.post(f"{route}/answer", b"9")).status == 403
    assert (await clerk.post(f"{route}/refuse")).status == 403
    assert (await chief.post(f"{route}/refuse?by=eve", b'{"reason": "later"}')).status == 200
    with pytest.raises(Exception, match="refused by bob: later"):
        await handle.result(LIMIT)


async def test_who_sees_no_sealed_payloads_sees_no_questions() -> None:
    async with Romancy("memory://", workflows=[promoted], codecs=Codecs(Masking())) as app:
        client = Client(asgi(app, auth=lambda _: Visitor("ann", payloads=False)))
        assert (await client.get("/questions")).status == 403
