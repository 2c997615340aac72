"""A server process and requests that mean it ill: no answer is a 5xx, nothing is written, and memory has a bound."""

from __future__ import annotations

import asyncio
import re
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2
import pytest

from tests.http.clients import STRUCTURED
from tests.http.malformed import GOOD, REQUESTS, request
from tests.http.process import Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = [pytest.mark.long, pytest.mark.anyio]

WITHIN = 60
MB: Final = 1024 * 1024
MANY: Final = 1000
FILES: Final = 4 * MANY


class Hostile:
    """A server without a worker, and what its database holds: nobody but requests writes there."""

    def __init__(self, server: Server, path: Path) -> None:
        self.server = server
        self._path = path

    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        with closing(sqlite3.connect(self._path)) as database:
            names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
            return {name: database.execute(f'select count(*) from "{name}"').fetchone()[0] for name in names}  # noqa: S608

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port)

    async def status(self, pieces: Iterable[bytes]) -> int:
        """Send these bytes until the server has enough; return the status of its answer, 0 without one."""
        reader, writer = await self.connect()
        try:
            async with asyncio.timeout(WITHIN):
                answer = asyncio.ensure_future(reader.readline())
                try:
                    for piece in pieces:
                        if answer.done():
                            break
                        writer.write(piece)
                        await writer.drain()
                except ConnectionError:
                    pass  # the server has closed it, perhaps after an answer
                try:
                    line = await answer
                except ConnectionError:
                    return 0
                return int(line.split()[1]) if line else 0
        finally:
            writer.transport.abort()


@pytest.fixture(scope="module", autouse=True)
def files() -> Iterator[None]:
    """Let this process and those that it starts have files enough for the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"this machine allows {hard} open files: {MANY} open connections were not tried")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    path = tmp_path_factory.mktemp("hostile") / "hostile.db"
    with serving(f"sqlite:///{path}", ROMANCY_NO_WORKER="1") as server:
        httpx2.get(f"{server.url}/health/ready").raise_for_status()
        yield Hostile(server, path)
        assert [] == [line for line in server.said if "Traceback" in line or "ERROR" in line]


async def test_no_request_that_is_wrong_is_the_servers_fault(hostile: Hostile) -> None:
    before, memory = hostile.rows(), hostile.server.memory

    statuses = {name: await hostile.status([data]) for name, data in REQUESTS.items()}

    assert {} == {name: status for name, status in statuses.items() if status not in range(400, 500)}
    assert before == hostile.rows()
    assert hostile.server.memory < memory + 64 * MB


PATHS: Final = (
    "/",
    "/workflows/collect",
    "/cancel/x",
    "/pause/x",
    "/instances/x/signals/y",
    "/instances/x/requests/y",
    "/instances/x/fork",
    "/instances/x/rewind",
    "/hooks/mail",
    "/hooks/github",
)


def hundred_megabytes(target: str, *, announced: bool) -> Iterator[bytes]:
    """A request with such a body, which says its length or comes in pieces."""
    size = "content-length: 104857600" if announced else "transfer-encoding: chunked"
    lines = [f"POST {target} HTTP/1.1", "host: localhost", f"content-type: {STRUCTURED}", size, "", ""]
    yield "\r\n".join(lines).encode()
    piece = b"x" * MB if announced else b"%x\r\n%b\r\n" % (MB, b"x" * MB)
    for _ in range(100):
        yield piece


async def test_bodies_of_a_hundred_megabytes(hostile: Hostile) -> None:
    before, memory = hostile.rows(), hostile.server.memory

    announced = [await hostile.status([next(hundred_megabytes(path, announced=True))]) for path in PATHS]
    sent = [hundred_megabytes(path, announced=says) for path in PATHS for says in (True, False) * 4]
    statuses = await asyncio.gather(*(hostile.status(pieces) for pieces in sent))

    assert {413} == set(announced)
    assert {413} == set(statuses) - {0}  # the system may drop the answer when the client sends on behind it
    assert before == hostile.rows()
    assert hostile.server.memory < memory + 64 * MB


async def test_bodies_that_do_not_come(hostile: Hostile) -> None:
    """They are answered when the time for a body is over, and hold up nobody meanwhile."""
    before, memory = hostile.rows(), hostile.server.memory
    begun = request(b"{" * 100, f"content-type: {STRUCTURED}")[:-50]

    waiting = [asyncio.create_task(hostile.status([begun])) for _ in range(200)]
    ready = await hostile.status([request(b"", target="/health/ready", method="GET")])
    pending = [task for task in waiting if not task.done()]
    statuses = await asyncio.gather(*waiting)

    assert (200, {408}) == (ready, set(statuses))
    assert waiting == pending
    assert before == hostile.rows()
    assert hostile.server.memory < memory + 64 * MB


async def test_a_thousand_connections_that_are_half_open(hostile: Hostile) -> None:
    """A good event is accepted meanwhile, and is all that is written."""
    before, memory = hostile.rows(), hostile.server.memory
    begun = request(GOOD, f"content-type: {STRUCTURED}")[:40]

    connections = [await hostile.connect() for _ in range(MANY)]
    for _, writer in connections:
        writer.write(begun)
    accepted = await hostile.status([request(GOOD, f"content-type: {STRUCTURED}")])
    after = hostile.rows()
    answered = [reader.at_eof() for reader, _ in connections]
    for _, writer in connections:
        writer.transport.abort()

    assert (202, {False}) == (accepted, set(answered))
    grown = {name: count - before[name] for name, count in after.items() if count != before[name]}
    # One at its key; one at its type, until the worker has found that nobody listens.
    assert grown in [{"romancy_seen": 1, "romancy_messages": messages} for messages in (1, 2)]
    assert hostile.server.memory < memory + 64 * MB
    assert 200 == await hostile.status([request(b"", target="/health/ready", method="GET")])


def test_what_is_made_of_the_description_is_answered_as_it_says(tmp_path: Path) -> None:
    """Schemathesis makes requests that fit the OpenAPI document, and requests that do not."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--no-color", "run",
        "--phases", "coverage,fuzzing", "--max-examples", "5", "--seed", "1", "--continue-on-failure",
        "--checks", "not_a_server_error,content_type_conformance,response_schema_conformance,negative_data_rejection",
    ]  # fmt: skip
    with serving(f"sqlite:///{tmp_path}/described.db") as server:
        ended = subprocess.run(
            [*command, f"{server.url}/openapi.json"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200, check=False,
        )  # fmt: skip
        told = [line for line in server.said if "Traceback" in line or "ERROR" in line]

    assert 0 == ended.returncode, ended.stdout
    selected = re.search(r"(\d+) selected / \1 total", ended.stdout)
    assert selected is not None, ended.stdout
    assert int(selected[1]) > 40
    assert [] == told
