"""Which text would end a transaction, apart from comments and literals."""

from __future__ import annotations

import pytest

from romancy.errors import UsageError
from romancy.storage.endings import refuse_mysql_ending, refuse_postgres_ending
from tests.storage.ending_texts import ENDING, PASSING


@pytest.mark.parametrize("sql", ENDING["postgres"])
def test_an_end_is_found_on_postgres(sql: str) -> None:
    with pytest.raises(UsageError, match="ended by Romancy"):
        refuse_postgres_ending(sql)


@pytest.mark.parametrize("sql", ENDING["mysql"])
def test_an_end_is_found_on_mysql(sql: str) -> None:
    with pytest.raises(UsageError, match="ended by Romancy"):
        refuse_mysql_ending(sql)


@pytest.mark.parametrize("sql", PASSING["postgres"])
def test_what_ends_nothing_passes_on_postgres(sql: str) -> None:
    refuse_postgres_ending(sql)


@pytest.mark.parametrize("sql", PASSING["mysql"])
def test_what_ends_nothing_passes_on_mysql(sql: str) -> None:
    refuse_mysql_ending(sql)
