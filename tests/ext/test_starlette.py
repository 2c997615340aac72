"""The app within Starlette's lifespan, and in the hands of its handlers, mounted ones too."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotation
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from romancy import Romancy, UsageError, WorkflowContext, workflow
from romancy.ext.starlette import lifespan, opened_app

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@workflow
async def greet(ctx: WorkflowContext, name: str) -> str:
    return f"hello {name}"


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await opened_app(request).run(greet, request.query_params["name"]))


def made() -> Romancy:
    return Romancy("memory://", workflows=[greet])


def test_a_route_and_a_mounted_application_find_the_app() -> None:
    inner = Starlette(routes=[Route("/hello", hello)])
    app = made()
    with TestClient(Starlette(routes=[Route("/hello", hello), Mount("/in", inner)], lifespan=lifespan(app))) as client:
        assert client.get("/hello?name=ann").text == "hello ann"
        assert client.get("/in/hello?name=bob").text == "hello bob"
    assert not app.is_open


def test_a_dependency_of_fastapi() -> None:
    api = FastAPI(lifespan=lifespan(made()))

    @api.get("/hello")
    async def say(name: str, app: Annotated[Romancy, Depends(opened_app)]) -> str:
        return await app.run(greet, name)

    with TestClient(api) as client:
        assert client.get("/hello?name=ann").json() == "hello ann"


def test_a_lifespan_of_ones_own_is_inside() -> None:
    app = made()
    open_at: list[tuple[str, bool]] = []

    @asynccontextmanager
    async def mine(host: Any) -> AsyncGenerator[dict[str, Any]]:
        open_at.append((type(host).__name__, app.is_open))
        yield {"mine": "kept"}
        open_at.append(("end", app.is_open))

    async def both(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.state.mine} {opened_app(request) is app}")

    with TestClient(Starlette(routes=[Route("/", both)], lifespan=lifespan(app, mine))) as client:
        assert client.get("/").text == "kept True"
    assert open_at == [("Starlette", True), ("end", True)]
    assert not app.is_open


def test_without_the_lifespan_it_is_refused_by_name() -> None:
    client = TestClient(Starlette(routes=[Route("/hello", hello)]))
    with pytest.raises(UsageError, match=r"lifespan=romancy\.ext\.starlette\.lifespan"):
        client.get("/hello?name=ann")
