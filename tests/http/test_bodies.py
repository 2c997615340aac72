"""Bodies that are too long, too slow, too many, compressed or broken off."""

# Only private state shows what is held in memory.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Handle, Romancy, Status
from romancy.http import asgi
from romancy.http._incoming import STRUCTURED
from tests.http.client import Answer, Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

pytestmark = pytest.mark.anyio

MOST = 10_000
HEADERS = [(b"content-type", STRUCTURED.encode())]
SCOPE: dict[str, Any] = {
    "type": "http", "method": "POST", "path": "/", "root_path": "", "query_string": b"",
    "headers": [(b"host", b"localhost"), *HEADERS], "client": ("127.0.0.1", 5),
}  # fmt: skip


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[]) as app:
        yield app


async def test_a_body_that_says_how_long_it_is_is_not_read(app: Romancy) -> None:
    def unread() -> Iterator[bytes]:
        yield pytest.fail("it was read")

    client = Client(asgi(app, auth="local", max_body=MOST))
    for length in (b"10001", b"9" * 5000):
        answer = await client.ask("POST", "/", unread(), [*HEADERS, (b"content-length", length)])
        assert (413, "PayloadTooLarge", "close") == (
            answer.status,
            answer.json["error_type"],
            answer.headers["connection"],
        )


async def test_an_endless_body_is_read_up_to_the_limit(app: Romancy) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1000
            yield b"x" * 1000

    client = Client(asgi(app, auth="local", max_body=MOST))
    tracemalloc.start()
    answer = await client.ask("POST", "/", endless(), HEADERS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (413, MOST + 1000) == (answer.status, read)
    assert peak < 20 * MOST
    whole = await client.ask("POST", "/", [b"x" * 1000] * 10, HEADERS)
    assert (400, "ParseError") == (whole.status, whole.json["error_type"])


async def test_a_body_that_stops_coming_is_answered_in_time(app: Romancy) -> None:
    sent: list[Any] = []
    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        if asked > 1:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"{", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    await asgi(app, auth="local", body_timeout=0.01)({**SCOPE}, receive, send)

    assert 408 == sent[0]["status"]
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_a_client_that_leaves_in_the_middle(app: Romancy) -> None:
    """The loop that ignores a disconnect never ends; this one ends with the client."""
    http = asgi(app, auth="local")
    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"{", "more_body": True} if asked == 1 else {"type": "http.disconnect"}

    async def send(message: Any) -> None: ...

    async with asyncio.timeout(30):
        await http({**SCOPE}, receive, send)

    assert 2 == asked
    assert 64 * 1024 * 1024 == http._bodies._left


async def test_all_bodies_together_have_a_limit(app: Romancy) -> None:
    http = asgi(app, auth="local", max_body=MOST)
    held = [asyncio.Event() for _ in range(64)]
    got = [Answer() for _ in held]

    async def one(number: int) -> None:
        asked = 0

        async def receive() -> Any:
            nonlocal asked
            asked += 1
            if asked == 1:
                return {"type": "http.request", "body": b"x" * MOST, "more_body": True}
            await held[number].wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            got[number].status = message.get("status", got[number].status)

        await http({**SCOPE}, receive, send)

    many = [asyncio.create_task(one(number)) for number in range(64)]
    while http._bodies._left:  # noqa: ASYNC110 - nothing tells it
        await asyncio.sleep(0)
    refused = await Client(http).ask("POST", "/", b"x", HEADERS)
    for event in held:
        event.set()
    await asyncio.gather(*many)
    after = await Client(http).ask("POST", "/", b"x", HEADERS)

    assert (503, "5", True) == (refused.status, refused.headers["retry-after"], refused.json["retryable"])
    assert (400, 64 * MOST) == (after.status, http._bodies._left)


@pytest.mark.parametrize(
    ("encoding", "status"), [(b"gzip", 415), (b"br, identity", 415), (b"identity", 400), (b"", 400)]
)
async def test_a_compressed_body_is_not_unpacked(app: Romancy, encoding: bytes, status: int) -> None:
    answer = await Client(asgi(app, auth="local")).ask(
        "POST", "/", b"\x1f\x8b", [*HEADERS, (b"content-encoding", encoding)]
    )

    assert status == answer.status


async def test_only_so_many_wait(app: Romancy) -> None:
    http = asgi(app, auth="local", max_waiting=1)
    with http._waits.place(), pytest.MonkeyPatch.context() as patch:

        async def waiting(*_: object) -> Status:
            return Status.WAITING

        patch.setattr(Handle, "status", waiting)
        answers = [await Client(http).get(f"/instances/x/{what}") for what in ("result", "progress")]

    assert [503, 503] == [answer.status for answer in answers]
