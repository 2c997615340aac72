"""The proxy, before a small server that answers in capitals, and before real ones at their COMMIT."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import threading
import time
from typing import TYPE_CHECKING

import asyncpg
import pymysql
import pytest

from romancy_conformance.proxy import Direction, Fault, Proxy, is_commit
from romancy_conformance.servers import Kind
from romancy_conformance.servers.access import access_by_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from romancy_conformance.servers import Access

SILENCE = 0.1


class _Capitals(socketserver.BaseRequestHandler):
    """Answers every chunk in capitals, and keeps what it has received."""

    def handle(self) -> None:
        connection: socket.socket = self.request
        try:
            while data := connection.recv(1024):
                heard.append(data)
                connection.sendall(data.upper())
        except ConnectionError:
            return


heard: list[bytes] = []


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy before this small server."""
    heard.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Capitals) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        with Proxy("127.0.0.1", server.server_address[1]) as proxy:
            yield proxy
        server.shutdown()


def _connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=60)


def _ask(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return client.recv(1024)


def _is_silent(client: socket.socket) -> bool:
    client.settimeout(SILENCE)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    else:
        return False
    finally:
        client.settimeout(60)


def _asks(data: bytes) -> Callable[[Direction, bytes], bool]:
    return lambda direction, chunk: direction is Direction.TO_SERVER and data in chunk


def test_it_passes_everything_on(proxy: Proxy) -> None:
    with _connect(proxy) as one, _connect(proxy) as two:
        assert _ask(one, b"one") == b"ONE"
        assert _ask(two, b"two") == b"TWO"


def test_it_passes_on_an_end(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        assert _ask(client, b"bye") == b"BYE"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_a_delay_lengthens_both_ways(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        assert _ask(client, b"warm") == b"WARM"
        proxy.delay = 0.05
        before = time.monotonic()
        assert _ask(client, b"slow") == b"SLOW"
        assert time.monotonic() - before >= 0.1


def test_a_cut_resets_every_connection_and_allows_new_ones(proxy: Proxy) -> None:
    with _connect(proxy) as one, _connect(proxy) as two:
        assert [_ask(one, b"a"), _ask(two, b"b")] == [b"A", b"B"]
        proxy.cut()
        for client in (one, two):
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    with _connect(proxy) as client:
        assert _ask(client, b"again") == b"AGAIN"


def test_a_refusing_proxy_resets_new_connections_and_keeps_old_ones(proxy: Proxy) -> None:
    with _connect(proxy) as old:
        assert _ask(old, b"a") == b"A"
        proxy.refuses = True
        with pytest.raises(ConnectionResetError), _connect(proxy) as new:
            new.recv(1)
        assert _ask(old, b"b") == b"B"


def test_a_black_hole_swallows_in_silence_until_it_is_healed(proxy: Proxy) -> None:
    with _connect(proxy) as old:
        assert _ask(old, b"a") == b"A"
        proxy.black_hole()
        old.sendall(b"b")
        with _connect(proxy) as new:
            new.sendall(b"c")
            assert [_is_silent(old), _is_silent(new)] == [True, True]
            assert heard == [b"a"]

            proxy.heal()

            assert [old.recv(9), new.recv(9)] == [b"B", b"C"]


def test_who_falls_silent_stays_silent_and_new_connections_live(proxy: Proxy) -> None:
    with _connect(proxy) as old:
        assert _ask(old, b"a") == b"A"
        proxy.fall_silent()
        old.sendall(b"b")
        with _connect(proxy) as new:
            assert _ask(new, b"c") == b"C"
        assert _is_silent(old)
        assert heard == [b"a", b"c"]


def test_bytes_are_lost_in_one_direction(proxy: Proxy) -> None:
    with _connect(proxy) as client:
        proxy.lose(Direction.TO_SERVER, 2)
        assert _ask(client, b"abc") == b"C"
        proxy.lose(Direction.TO_CLIENT, 1)
        assert _ask(client, b"abc") == b"BC"
        assert _ask(client, b"abc") == b"ABC"


def test_cut_keeps_the_request_from_the_server(proxy: Proxy) -> None:
    trigger = proxy.when(_asks(b"fatal"), Fault.CUT)
    with _connect(proxy) as client:
        assert _ask(client, b"first") == b"FIRST"
        client.sendall(b"fatal")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    trigger.wait()
    assert heard == [b"first"]


def test_cut_answer_lets_the_server_do_it_and_keeps_the_client_in_the_dark(proxy: Proxy) -> None:
    trigger = proxy.when(_asks(b"fatal"), Fault.CUT_ANSWER)
    with _connect(proxy) as client:
        client.sendall(b"fatal")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    trigger.wait()
    assert heard == [b"fatal"]


def test_hold_keeps_the_request_until_it_is_released(proxy: Proxy) -> None:
    trigger = proxy.when(_asks(b"held"), Fault.HOLD)
    with _connect(proxy) as client, _connect(proxy) as other:
        client.sendall(b"held")
        trigger.wait()
        assert heard == []
        assert _ask(other, b"other") == b"OTHER"
        trigger.release()
        assert client.recv(9) == b"HELD"


def test_hold_answer_keeps_the_answer_until_it_is_released(proxy: Proxy) -> None:
    trigger = proxy.when(_asks(b"held"), Fault.HOLD_ANSWER)
    with _connect(proxy) as client:
        client.sendall(b"held")
        trigger.wait()
        assert heard == [b"held"]
        assert _is_silent(client)
        trigger.release()
        assert client.recv(9) == b"HELD"


def test_lose_drops_the_request_and_goes_on(proxy: Proxy) -> None:
    trigger = proxy.when(_asks(b"lost"), Fault.LOSE)
    with _connect(proxy) as client:
        client.sendall(b"lost")
        trigger.wait()
        assert _ask(client, b"kept") == b"KEPT"
    assert heard == [b"kept"]


def test_a_trigger_strikes_once(proxy: Proxy) -> None:
    proxy.when(_asks(b"x"), Fault.LOSE)
    with _connect(proxy) as client:
        client.sendall(b"x")
        assert _is_silent(client)
        assert _ask(client, b"x") == b"X"


def test_a_trigger_that_nothing_sets_off_says_so(proxy: Proxy) -> None:
    with pytest.raises(TimeoutError, match="HOLD"):
        proxy.when(_asks(b"never"), Fault.HOLD).wait(0.01)


def test_closing_resets_even_what_is_held(proxy: Proxy) -> None:
    trigger = proxy.when(_asks(b"held"), Fault.HOLD)
    with _connect(proxy) as client:
        client.sendall(b"held")
        trigger.wait()

        proxy.close()

        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_target_that_is_away_resets_the_client() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with (
            Proxy("127.0.0.1", nobody.getsockname()[1]) as proxy,
            pytest.raises(ConnectionResetError),
            _connect(proxy) as client,
        ):
            client.recv(1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"Q\0\0\0\x0cCOMMIT;\0", True),
        (b"Q\0\0\0\x0bcommit\0", True),
        (b"P\0\0\0\x20name\0COMMIT\0\0\0", True),
        (b"\x07\0\0\0\x03COMMIT", True),
        (b"Q\0\0\0\x0bSELECT 'COMMIT'\0", False),
        (b"\x07\0\0\0\x03SELECT 'COMMIT'", False),
        (b"Q\0\0\0\x0cCOMMENT\0", False),
    ],
)
def test_a_commit_is_recognised(data: bytes, expected: bool) -> None:  # noqa: FBT001
    assert expected == is_commit(Direction.TO_SERVER, data)
    assert not is_commit(Direction.TO_CLIENT, data)


# --- before real servers: a transaction whose COMMIT meets a fault ------------------------------------------------


def _transaction(url: str) -> None:
    """Insert a row in a transaction through the drivers the adapters use, and commit it."""
    if url.startswith("postgresql:"):
        asyncio.run(_postgres_transaction(url))
    else:
        access = access_by_url(Kind(url.partition(":")[0]), url)
        connection = pymysql.connect(
            host=access.host,
            port=access.port,
            user=access.user,
            password=access.password,
            database=access.database,
        )
        try:
            connection.cursor().execute("INSERT INTO t VALUES (1)")
            connection.commit()
        finally:
            connection._force_close()  # type: ignore[attr-defined]


async def _postgres_transaction(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES ($1)", 1)
    finally:
        connection.terminate()


@pytest.fixture
def table(storage_url: str) -> Access:
    """A database with an empty table `t`."""
    scheme = storage_url.partition(":")[0]
    access = access_by_url(Kind.POSTGRES if scheme == "postgresql" else Kind(scheme), storage_url)
    access.fetch("CREATE TABLE t (id INT PRIMARY KEY)")
    return access


def _rows(table: Access) -> int:
    return int(table.fetch("SELECT count(*) FROM t"))


@pytest.mark.backends(*Kind)
@pytest.mark.parametrize(("fault", "rows"), [(Fault.CUT, 0), (Fault.CUT_ANSWER, 1)])
def test_a_commit_is_cut_before_or_after_it_happens(
    table: Access, proxy_for: Callable[[str], Proxy], fault: Fault, rows: int
) -> None:
    url = table.url()
    proxy = proxy_for(url)
    trigger = proxy.on_commit(fault)

    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError, pymysql.MySQLError)):
        _transaction(proxy.url(url))

    trigger.wait()
    assert _rows(table) == rows


@pytest.mark.backends(*Kind)
@pytest.mark.parametrize(("fault", "rows_meanwhile"), [(Fault.HOLD, 0), (Fault.HOLD_ANSWER, 1)])
def test_a_commit_is_held_before_or_after_it_happens(
    table: Access, proxy_for: Callable[[str], Proxy], fault: Fault, rows_meanwhile: int
) -> None:
    url = table.url()
    proxy = proxy_for(url)
    trigger = proxy.on_commit(fault)
    committer = threading.Thread(target=_transaction, args=(proxy.url(url),))
    committer.start()

    trigger.wait()

    assert _rows(table) == rows_meanwhile
    assert committer.is_alive()
    trigger.release()
    committer.join(60)
    assert _rows(table) == 1
