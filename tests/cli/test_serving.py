"""The command that serves an app over HTTP: where it listens, how it stops, and for whom it does not wait."""

# Only private functions say what would be listened at.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final

import click
import httpx2
import pytest

from romancy import Romancy
from romancy.cli._listening import listener_at
from romancy.cli._serving import _check_place
from romancy.http import anyone, asgi, bearer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

SHOP: Final = """
from romancy import Romancy, WorkflowContext, workflow
from romancy.http import asgi

@workflow(event_handler=True)
async def place_order(ctx: WorkflowContext, item: str) -> str:
    return (await ctx.wait_event("paid")).type

app = Romancy("sqlite:///shop.db", workflows=[place_order])
http = asgi(app, auth="local", path="/events")
"""
EVENT: Final = {"specversion": "1.0", "id": "e-1", "source": "/web", "type": "place_order", "data": "lamp"}
STRUCTURED: Final = {"content-type": "application/cloudevents+json"}


@pytest.mark.long
@pytest.mark.parametrize(("target", "path"), [("shop", "/events"), ("shop:app", "")])
def test_a_server_that_is_told_to_stop_ends_the_requests_that_wait(tmp_path: Path, target: str, path: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    command = [sys.executable, "-m", "romancy", "serve", target, "--port", "0", "--drain", "50s"]
    with (
        subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server,
        httpx2.Client(timeout=60) as client,
    ):
        try:
            assert server.stderr is not None
            url = next(line.split()[-1] for line in server.stderr if line.startswith("serves at ")) + path
            accepted = client.post(url, json=EVENT, headers=STRUCTURED)
            instance = f"{url}/instances/{accepted.json()['instance_id']}"
            with client.stream("GET", f"{instance}/progress") as progress:
                lines = progress.iter_lines()
                assert any("MessageAwaited" in line for line in lines)
                server.send_signal(signal.SIGTERM)
                rest = list(lines)
            told = server.stderr.read()
            code = server.wait(60)
        finally:
            server.kill()

    assert 202 == accepted.status_code
    assert not any("data:" in line for line in rest)
    assert "requests and activities have 50 s to end" in told
    assert told.endswith("server has stopped\n")
    assert 0 == code


def test_it_is_served_elsewhere_with_a_hook_alone() -> None:
    app = Romancy("memory://", workflows=[])
    for host in ("127.0.0.1", "localhost", "::1"):
        _check_place(asgi(app, auth="local"), "shop:app", host)
    for auth in (anyone, bearer("t" * 16)):
        _check_place(asgi(app, auth=auth), "shop:app", "0.0.0.0")  # noqa: S104
    for host in ("0.0.0.0", "::", "", "192.0.2.1", "shop.example"):  # noqa: S104
        with pytest.raises(click.UsageError, match="is for this machine alone"):
            _check_place(asgi(app, auth="local"), "shop:app", host)


def test_a_port_that_is_taken_is_said_in_a_line() -> None:
    with listener_at("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(click.ClickException, match=f"cannot listen at 127.0.0.1, port {port}: Address already"):
            listener_at("127.0.0.1", port)


@pytest.fixture
async def place() -> AsyncGenerator[tuple[str, int]]:
    """The address of a server in this process that waits a moment for a request, and no longer."""
    from romancy.cli._server import server_of  # noqa: PLC0415 - slow to import

    app = Romancy("memory://", workflows=[])
    with closing(listener_at("127.0.0.1", 0)) as listener:
        server = server_of(asgi(app, auth="local", body_timeout=0.5), grace=5, patience=0.2)
        async with app:
            serving = asyncio.create_task(server.serve([listener]))
            yield listener.getsockname()
            server.should_exit = True
            await serving


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("sent", "first"),
    [
        (b"", b""),
        (b"GET /health/live HTTP/1.1\r\nho", b""),
        (b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\nGET /hea", b"HTTP/1.1 200 OK"),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n", b"HTTP/1.1 408 Request Timeout"),
    ],
)
async def test_a_connection_over_which_no_request_comes_is_closed(
    place: tuple[str, int], sent: bytes, first: bytes
) -> None:
    reader, writer = await asyncio.open_connection(*place)
    writer.write(sent)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()

    assert first == answer.partition(b"\r\n")[0]


@pytest.mark.anyio
async def test_a_connection_may_be_used_again(place: tuple[str, int]) -> None:
    host, port = place
    async with httpx2.AsyncClient(timeout=60) as client:
        statuses = [(await client.get(f"http://{host}:{port}/health/ready")).status_code for _ in range(3)]

    assert [200] * 3 == statuses
