"""Where a connection keeps no session: what else it keeps, and statements that carry their settings.

Each transaction may use another session of the server, and programs that share the pooler may have left settings in it.
So no statement relies on the session. One that writes sets what it needs for its own transaction, before it takes its
first lock. It then needs no BEGIN and no COMMIT, and is one round trip if the pooler keeps prepared statements.

The isolation of the session needs no setting: under a stricter one, the server refuses such a statement where its
answer would differ (40001), and it is sent again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
from msgspec import Struct

from romancy_postgres._connection import PLANNING, Source

if TYPE_CHECKING:
    from romancy_postgres._settings import Settings

__all__ = ["KEYED", "Kept", "Lone", "carrying", "look"]

KEYED: Final = frozenset(
    {
        "append_one",
        "append_many",
        "append_changes",
        "append_effects",
        "append_first",
        "beat",
        "deliver",
        "explain_appends",
        "explain_firsts",
        "may_follow",
        "notify",
        "place",
        "read",
        "server",
        "start",
    }
)
"""Statements that find each row by its whole key, so that no setting of the planner is needed for their plans."""

_WRITES: Final = re.compile(r"\b(?:insert|update|delete|share|pg_advisory_\w+)\b")
_MAIN: Final = re.compile(r"^\)\n(?=(?:select|insert|update|delete)\b)", re.MULTILINE)
"""The end of the parts in WITH: what is inside of one is indented."""
_ASK: Final = """
select exists (select from pg_prepared_statements where name = $1),
       (select count(*) from pg_settings s join unnest($2::text[], $3::text[]) as w (name, wanted) using (name)
        where s.setting = w.wanted)
"""
_PATIENCE: Final = 20.0


class Kept(NamedTuple):
    """What there is behind a pooler."""

    statements: bool
    """The pooler keeps prepared statements."""
    planning: bool
    """The sessions of the server have the engine's settings of the planner."""


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


async def look(settings: Settings) -> Kept:
    """Look through the pooler. One that keeps prepared statements prepares them under names of its own.

    Another one passes the client's name on to the session of the present transaction.
    """
    connection = await asyncpg.connect(**settings.connect)
    try:
        async with connection.transaction():
            statement = await connection.prepare(_ASK, timeout=_PATIENCE)
            name, wanted = statement.get_name(), (list(PLANNING), list(PLANNING.values()))
            ((passed_on, planned),) = await statement.fetch(name, *wanted, timeout=_PATIENCE)
    finally:
        await connection.close(timeout=_PATIENCE)
    return Kept(statements=not passed_on, planning=planned == len(PLANNING))
