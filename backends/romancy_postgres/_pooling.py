"""Behind a pooler in transaction mode: what it keeps, and statements that carry their settings.

Each transaction may use another session of the server, and programs that share the pooler may have left settings in it.
So no statement relies on the session. One that writes sets what it needs for its own transaction, before it takes its
first lock. It then needs no BEGIN and no COMMIT, and is one round trip if the pooler keeps prepared statements.

The isolation of the session needs no setting: under a stricter one, the server refuses such a statement where its
answer would differ (40001), and it is sent again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import asyncpg
from msgspec import Struct

from romancy_postgres._connection import Source

if TYPE_CHECKING:
    from romancy_postgres._settings import Settings

__all__ = ["Lone", "carrying", "keeps_statements"]

_WRITES: Final = re.compile(r"\b(?:insert|update|delete|share|pg_advisory_\w+)\b")
_MAIN: Final = re.compile(r"^\)\n(?=(?:select|insert|update|delete)\b)", re.MULTILINE)
"""The end of the parts in WITH: what is inside of one is indented."""
_ASK: Final = "select exists (select from pg_prepared_statements where name = $1)"
_PATIENCE: Final = 20.0


class Lone(Struct):
    """The statements by name, as they are sent alone."""

    queries: dict[str, str]
    source: Source
    """Where they are as they stand in a transaction."""


def carrying(source: Source, *, durable: bool) -> Lone:
    """The statements, with the settings in those that write."""
    settings = ["set_config('lock_timeout', '1s', true)"]
    if durable:
        settings.append("set_config('synchronous_commit', 'on', true)")
    told = " || ".join(settings)
    texts = {name: _carrying(text, told) if _WRITES.search(text) else text for name, text in source.queries.items()}
    return Lone(texts, source)


def _carrying(text: str, settings: str) -> str:
    """The statement as a part of one that makes the settings first.

    A condition without columns is evaluated once, before anything below it.
    """
    found = _MAIN.search(text) if text.startswith("with ") else None
    parts, main = (f"{text[: found.start()]}), ", text[found.end() :]) if found else ("with ", text)
    rows = main if main.startswith("select") or "returning" in main else f"{main}\nreturning 1"
    return f"{parts}whole as materialized (\n{rows}\n)\nselect whole.* from whole where (select {settings}) is not null"


async def keeps_statements(settings: Settings) -> bool:
    """Whether the pooler keeps prepared statements: it then prepares them under names of its own.

    One that does not passes the client's name on to the session of the present transaction.
    """
    connection = await asyncpg.connect(**settings.connect)
    try:
        async with connection.transaction():
            statement = await connection.prepare(_ASK, timeout=_PATIENCE)
            passed_on = await statement.fetchval(statement.get_name(), timeout=_PATIENCE)
    finally:
        await connection.close(timeout=_PATIENCE)
    return not passed_on
