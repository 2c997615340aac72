"""The shop on the web, served by uvicorn: its process is killed at bad moments, and the books are right to the cent."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from romancy_conformance.behaviour import waiting
from tests.http.process import serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from tests.http.process import Server

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres"), pytest.mark.long]

LAMPS = {"item": "lamp", "count": 2, "cents": 4900, "address": "Main Street 1"}
LEDGER = """
select (select available from stock where item = 'lamp') as lamps,
       array(select order_id || ' ' || cents from bank order by 1) as bank,
       array(select order_id || ' to ' || address from shipments order by 1) as shipments,
       array(select id from orders order by 1) as orders,
       array(select instance_id || ' ' || status from romancy_instances order by 1) as workflows
"""


SOMEBODY_WAITS_FOR = "select exists (select from pg_locks where relation = $1::text::regclass and not granted)"
ENDED = "select status in ('completed', 'failed') from romancy_instances where instance_id = $1"


COMMITS_OF_ORDERS_WAIT = """
create function wait_for_the_test() returns trigger language plpgsql
    as 'begin perform pg_advisory_xact_lock(7); return null; end';
create constraint trigger slow after insert on orders initially deferred
    for each row execute function wait_for_the_test();
"""
END_WHO_WAITS = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and not granted"


@pytest.fixture
async def mine(storage_url: str) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(storage_url)
    yield connection
    await connection.close()


class Shop:
    """What a client asks of the server."""

    def __init__(self, server: Server) -> None:
        self.kill = server.kill
        self._port = server.port

    def ask(self, method: str, path: str, order: dict[str, Any] | None = None) -> tuple[int, Any]:
        with self.sent(method, path, order) as connection, connection.getresponse() as response:
            return response.status, json.loads(response.read())

    @contextmanager
    def sent(self, method: str, path: str, order: dict[str, Any] | None) -> Generator[HTTPConnection]:
        """Send a request; the answer is read, or not, during the block."""
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            body = None if order is None else json.dumps(order)
            connection.request(method, path, body, {"content-type": "application/json"})
            yield connection


@contextmanager
def selling(url: str, **environment: str) -> Generator[Shop]:
    with serving(url, "examples.order_service:api", DATABASE_URL=url, **environment) as server:
        yield Shop(server)


async def until(mine: asyncpg.Connection, question: str, *about: str) -> None:
    """Wait until the database answers with yes."""
    await waiting.until(lambda: mine.fetchval(question, *about))


async def ledger(mine: asyncpg.Connection) -> dict[str, Any]:
    row = await mine.fetchrow(LEDGER)
    assert row is not None
    return dict(row)


async def test_an_order_is_paid_and_shipped_once_though_its_server_is_killed_twice(
    storage_url: str, mine: asyncpg.Connection
) -> None:
    with selling(storage_url, BANK_SECONDS="3600") as shop:
        assert shop.ask("PUT", "/orders/a-1", LAMPS) == (202, {"id": "a-1"})
        await until(mine, "select exists (select from bank)")
        shop.kill()  # the bank has booked, and the answer is lost
    paid = await ledger(mine)

    with selling(storage_url) as shop:
        async with mine.transaction():
            await mine.execute("lock table shipments in exclusive mode")
            await until(mine, SOMEBODY_WAITS_FOR, "shipments")
            shop.kill()  # the parcel is half written into the shop's table
    assert await mine.fetchval("select count(*) from shipments") == 0

    with selling(storage_url) as shop:
        assert shop.ask("PUT", "/orders/a-1", LAMPS) == (202, {"id": "a-1"})
        await until(mine, ENDED, "a-1")
        looked = shop.ask("GET", "/orders/a-1")

    assert (8, ["a-1 4900"], []) == (paid["lamps"], paid["bank"], paid["shipments"])
    assert looked == (200, {"status": "completed", "progress": "shipped", "error": None})
    assert await ledger(mine) == {
        "lamps": 8,
        "bank": ["a-1 4900"],
        "shipments": ["a-1 to Main Street 1"],
        "orders": ["a-1"],
        "workflows": ["a-1 completed"],
    }


async def test_an_order_that_cannot_be_shipped_is_undone_though_its_server_is_killed_at_the_refund(
    storage_url: str, mine: asyncpg.Connection
) -> None:
    with selling(storage_url) as shop:
        async with mine.transaction():
            await mine.execute("lock table stock in exclusive mode")
            assert shop.ask("PUT", "/orders/a-1", {**LAMPS, "address": "nowhere"})[0] == 202
            await until(mine, SOMEBODY_WAITS_FOR, "stock")
            shop.kill()  # in the middle of the reservation

    with selling(storage_url, BANK_SECONDS="1") as shop:
        await until(mine, "select exists (select from bank where cents < 0)")
        shop.kill()  # the refund is booked, and the answer is lost
    assert await mine.fetchval("select available from stock") == 8

    with selling(storage_url) as shop:
        await until(mine, ENDED, "a-1")
        status, told = shop.ask("GET", "/orders/a-1")

    assert (200, "failed", "paid") == (status, told["status"], told["progress"])
    assert "the carrier does not know 'nowhere'" in told["error"]
    assert await ledger(mine) == {
        "lamps": 10,
        "bank": ["a-1 -4900", "a-1 4900"],
        "shipments": [],
        "orders": ["a-1"],
        "workflows": ["a-1 failed"],
    }


async def test_an_order_and_its_workflow_are_both_there_or_neither(storage_url: str, mine: asyncpg.Connection) -> None:
    with selling(storage_url) as shop:
        await mine.execute(COMMITS_OF_ORDERS_WAIT)
        async with mine.transaction():
            await mine.execute("select pg_advisory_xact_lock(7)")
            with shop.sent("PUT", "/orders/a-1", LAMPS):
                await until(mine, "select exists (select from pg_locks where locktype = 'advisory' and not granted)")
                shop.kill()  # row and workflow are written, their commit has begun
            await mine.execute(END_WHO_WAITS)
    await mine.execute("drop function wait_for_the_test cascade")
    neither = await ledger(mine)

    with selling(storage_url) as shop:
        assert shop.ask("GET", "/orders/a-1")[0] == 404
        assert shop.ask("PUT", "/orders/a-1", LAMPS)[0] == 202
        await until(mine, ENDED, "a-1")
        taken = shop.ask("PUT", "/orders/a-1", {**LAMPS, "count": 3})
        nonsense = shop.ask("PUT", "/orders/a-2", {**LAMPS, "count": -3})
        greedy = shop.ask("PUT", "/orders/a-3", {**LAMPS, "count": 11})
        await until(mine, ENDED, "a-3")

    assert ([], []) == (neither["orders"], neither["workflows"])
    assert (409, 422, 202) == (taken[0], nonsense[0], greedy[0])
    assert await ledger(mine) == {
        "lamps": 8,
        "bank": ["a-1 4900"],
        "shipments": ["a-1 to Main Street 1"],
        "orders": ["a-1", "a-3"],
        "workflows": ["a-1 completed", "a-3 failed"],
    }
    assert await mine.fetchval("select count from orders where id = 'a-1'") == 2
