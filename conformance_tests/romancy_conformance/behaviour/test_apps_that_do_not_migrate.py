"""`Romancy(migrate=False)`: the tables are somebody else's to make and to change."""

from __future__ import annotations

from typing import Any

import pytest

from romancy import Romancy, UsageError, WorkflowContext, workflow
from romancy.errors import SchemaVersionError
from romancy.sync import SyncRomancy

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")]


@workflow
async def runs_on_tables_of_others(ctx: WorkflowContext, text: str) -> str:
    return text


@pytest.mark.parametrize("works", [True, False])
async def test_an_app_refuses_missing_tables_and_makes_none(empty_url: str, works: Any) -> None:
    careful = Romancy(empty_url, workflows=[runs_on_tables_of_others], worker=works, migrate=False)
    for _ in range(2):  # had the first one made the tables, the second one would open
        with pytest.raises(SchemaVersionError, match="romancy migrate"):
            await careful.__aenter__()

    async with Romancy(empty_url, workflows=[], worker=False):
        pass
    async with careful as app, Romancy(empty_url, workflows=[runs_on_tables_of_others], migrate=False) as other:
        handle = await app.start(runs_on_tables_of_others, "x")
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
