"""`Romancy(migrate=False)`: the tables are somebody else's to make and to change."""

from __future__ import annotations

from typing import Any

import pytest

from romancy import Romancy, UsageError
from romancy.errors import SchemaVersionError
from romancy.sync import SyncRomancy
from romancy_conformance.behaviour.cast import returns

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")]


@pytest.mark.parametrize("works", [True, False])
async def test_an_app_refuses_missing_tables_and_makes_none(empty_url: str, works: Any) -> None:
    careful = Romancy(empty_url, workflows=[returns], worker=works, migrate=False)
    for _ in range(2):  # had the first one made the tables, the second one would open
        with pytest.raises(SchemaVersionError, match="romancy migrate"):
            await careful.__aenter__()

    async with Romancy(empty_url, workflows=[], worker=False):
        pass
    async with careful as app, Romancy(empty_url, workflows=[returns], migrate=False) as other:
        handle = await app.start(returns, "x")
        assert "x" == await other.handle(handle.instance_id).result(timeout=30)


async def test_a_client_of_it_makes_no_tables_either(empty_url: str) -> None:
    with pytest.raises(SchemaVersionError):
        await Romancy(empty_url, workflows=[], migrate=False).as_client().__aenter__()


def test_a_blocking_app_refuses_missing_tables(empty_url: str) -> None:
    for _ in range(2):
        with (
            pytest.raises(SchemaVersionError, match="romancy migrate"),
            SyncRomancy(empty_url, workflows=[], migrate=False),
        ):
            pass


async def test_what_is_no_yes_or_no_is_refused(empty_url: str) -> None:
    with pytest.raises(UsageError, match="migrate"):
        Romancy(empty_url, workflows=[], migrate="no")  # type: ignore[arg-type]
