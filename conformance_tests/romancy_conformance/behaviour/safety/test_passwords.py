"""Passwords from a function: asked for at each new connection, and never shown."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from romancy import Romancy, UsageError
from romancy.errors import StorageConfigurationError, StorageUnavailableError
from romancy_conformance.behaviour.cast import returns

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

SERVERS = ("postgresql", "mysql", "mariadb")


class Given:
    """The URL of a test without its password, and functions that give it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.secret = unquote(parts.password or "")
        self.url = parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@")).geturl()
        self.asked = 0

    def password(self) -> str:
        self.asked += 1
        return self.secret

    async def awaited(self) -> str:
        return self.password()


@pytest.fixture
def given(storage_url: str) -> Given:
    """Skips databases without a password."""
    if urlsplit(storage_url).scheme not in SERVERS or not urlsplit(storage_url).password:
        pytest.skip("capability: this database asks for no password")
    return Given(storage_url)


@pytest.mark.parametrize("name", ["password", "awaited"])
async def test_a_worker_runs_with_the_password_of_a_function(
    given: Given, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with Romancy(given.url, password=getattr(given, name), workflows=[returns]) as app:
            assert await (await app.start(returns, 7)).result() == 7
            first = given.asked
            async with app.as_client() as client:
                assert await client.count() == 1

    assert 1 < first < given.asked
    assert given.secret not in caplog.text


async def test_a_function_that_fails_is_a_database_that_is_away(given: Given) -> None:
    """A worker waits for it as for the server."""

    def fail() -> str:
        raise KeyError(given.secret)

    app = Romancy(given.url, password=fail, worker=False, workflows=[returns])

    with pytest.raises(StorageUnavailableError, match="password= gave no password, but KeyError") as caught:
        await app.__aenter__()

    assert given.secret not in str(caught.value)


async def test_a_worker_waits_for_a_function_that_fails(given: Given) -> None:
    def later() -> str:
        if given.asked < 2:
            given.asked += 1
            raise OSError("the service of the tokens is away")
        return given.password()

    async with Romancy(given.url, password=later, workflows=[returns]) as app:
        assert await (await app.start(returns, 7)).result() == 7


async def test_what_is_no_password_is_refused(given: Given) -> None:
    nothing: Any = lambda: None  # noqa: E731 - as untyped code may have it

    with pytest.raises(StorageConfigurationError, match="has to return a string, not NoneType"):
        await Romancy(given.url, password=nothing, worker=False, workflows=[returns]).__aenter__()


async def test_a_wrong_password_is_named_and_not_shown(given: Given, backend: str) -> None:
    if backend == "vitess":
        pytest.skip("capability: the gate of the suite takes any password")
    with pytest.raises(StorageConfigurationError, match="password") as caught:
        await Romancy(given.url, password=lambda: "hunter2", worker=False, workflows=[returns]).__aenter__()

    assert "hunter2" not in str(caught.value)


async def test_a_second_password_in_the_url_is_refused(given: Given, storage_url: str) -> None:
    with pytest.raises(StorageConfigurationError, match="has a password beside password="):
        await Romancy(storage_url, password=given.password, worker=False, workflows=[returns]).__aenter__()

    assert not given.asked


async def test_a_database_without_passwords_refuses_the_function(storage_url: str) -> None:
    scheme = urlsplit(storage_url).scheme
    if scheme in SERVERS:
        pytest.skip("capability: this database asks for a password")
    asked: Callable[[], str] = lambda: "never"  # noqa: E731

    with pytest.raises(StorageConfigurationError, match=f"{scheme}:// takes no password="):
        await Romancy(storage_url, password=asked, workflows=[returns]).__aenter__()


def test_a_password_in_place_of_a_function_is_refused() -> None:
    plain: Any = "hunter2"

    with pytest.raises(UsageError, match="password= takes a function") as caught:
        Romancy("postgresql://me@db/orders", password=plain)

    assert "hunter2" not in str(caught.value)
