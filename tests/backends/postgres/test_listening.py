"""`listen_url`: behind a pooler, notifications are heard on a connection to the server itself."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.url import parse_url
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.contract.building import start
from romancy_conformance.proxy import Proxy
from romancy_postgres._settings import read_settings
from tests.backends.postgres.pooler import Pooler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy_postgres._settings import Settings
    from romancy_postgres._store import PostgresStore

    Open = Callable[..., Awaitable[PostgresStore]]

URL = "postgresql://me:s3cret@pooler.example:6432/orders?pooler=transaction&listen_url="
on_server = [pytest.mark.anyio, pytest.mark.backends("postgres")]


def listener(url: str) -> Settings:
    found = read_settings(parse_url(URL + url)).listener
    assert found is not None
    return found


def test_what_the_side_url_leaves_out_is_that_of_the_url() -> None:
    side = listener("postgresql://db.example:5433")

    wanted = {"host": "db.example", "port": 5433, "user": "me", "password": "s3cret", "database": "orders"}
    assert {name: side.connect[name] for name in wanted} == wanted
    assert (side.engine.keeps_session, side.listener) == (True, None)


def test_another_user_has_a_password_of_its_own() -> None:
    encoded = quote("postgresql://ear:other@a:1,b:2/real?sslmode=require", safe="")
    side = listener(encoded)

    wanted = {"user": "ear", "password": "other", "database": "real", "ssl": "require"}
    assert {name: side.connect[name] for name in wanted} == wanted
    assert [str(host) for host in side.hosts] == ["a:1", "b:2"]
    assert listener("postgresql://ear@a").connect["password"] is None


def test_push_is_promised_only_with_it() -> None:
    assert not read_settings(parse_url(URL)).listen
    assert read_settings(parse_url(URL + "postgresql://db")).listen


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mysql://me:s3cret2@db", "is no postgresql:// URL"),
        ("db:5432", "no scheme"),
        (quote("postgresql://me:s3cret2/x@db", safe=""), "percent-encode"),
        (quote("postgresql://me:s3cret2@db?pooler=transaction", safe=""), "has the option 'pooler'"),
        (quote("postgresql://db?listen_url=x", safe=""), "has the option 'listen_url'"),
        ("postgresql://db&listen=off", "beside listen=off"),
    ],
)
def test_a_side_url_that_will_not_do_is_refused_without_repeating_it(text: str, reason: str) -> None:
    with pytest.raises(StorageConfigurationError) as told:
        read_settings(parse_url(URL + text))

    assert "listen_url" in str(told.value)
    assert reason in str(told.value)
    assert "s3cret" not in str(told.value)


@pytest.fixture
async def pooler(storage_url: str) -> AsyncGenerator[Pooler]:
    """A pooler before this test's database."""
    async with Pooler(storage_url) as running:
        yield running


class TestOnAServer:
    pytestmark = on_server

    async def test_changes_are_heard_at_once(self, pooler: Pooler, storage_url: str, open_store: Open) -> None:
        store = await open_store(f"pooler=transaction&listen_url={quote(storage_url, safe='')}", url=pooler.url)
        other = await open_store("pooler=transaction", url=pooler.url)
        item = start()
        assert store.capabilities.push
        waiting = asyncio.create_task(store.wait_for_work(30))
        await asyncio.sleep(0)
        await other.commit([item])

        assert await asyncio.wait_for(waiting, 18) == frozenset({item.instance_id})

    async def test_a_lost_listener_is_told_polling_goes_on_and_it_comes_back(
        self, pooler: Pooler, storage_url: str, open_store: Open, caplog: pytest.LogCaptureFixture
    ) -> None:
        parts = urlsplit(storage_url)
        with Proxy(parts.hostname or "", parts.port or 0) as side:
            url = quote(side.url(storage_url), safe="")
            store = await open_store(f"pooler=transaction&listen_url={url}", url=pooler.url)
            hears = store._signals._listening.is_set  # pyright: ignore[reportPrivateUsage]
            await until(hears)
            other = await open_store("pooler=transaction", url=pooler.url)
            with caplog.at_level(logging.WARNING, "romancy.postgres"):
                side.refuses = True
                side.cut()

                async def told() -> bool:
                    return any("notifications are not heard" in one.getMessage() for one in caplog.records)

                await until(told)
                assert not hears()
                await other.commit([start()])
                assert await asyncio.wait_for(store.wait_for_work(30), 20) is None  # by looking
            side.refuses = False
            await until(hears)
            assert (parts.password or "?") not in caplog.text

    async def test_the_notifications_of_another_database_are_refused_at_opening(
        self, pooler: Pooler, storage_url: str, open_store: Open
    ) -> None:
        other = urlsplit(storage_url)._replace(path="/postgres").geturl()

        with pytest.raises(StorageConfigurationError, match=r"listen_url leads to another database, .*/postgres;"):
            await open_store(f"pooler=transaction&listen_url={quote(other, safe='')}", url=pooler.url)

    async def test_a_wrong_password_is_refused_at_opening(
        self, pooler: Pooler, storage_url: str, open_store: Open
    ) -> None:
        parts = urlsplit(storage_url)
        wrong = parts._replace(netloc=f"{parts.username}:wrong-one@{parts.hostname}:{parts.port}").geturl()

        with pytest.raises(StorageConfigurationError, match="the password is wrong") as told:
            await open_store(f"pooler=transaction&listen_url={quote(wrong, safe='')}", url=pooler.url)
        assert "wrong-one" not in str(told.value)
