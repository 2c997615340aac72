"""The scripts of the adapter by name: its own, those that all SQL databases share, and those of an engine.

A text whose name begins with `part_` stands in several statements. It has parameters of its own, numbered for one of
them. Another one says by how much its numbers are higher there: `:part_carried+8`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from romancy.storage.sql import DEFAULT_PREFIX, heads_of, queries_of
from romancy.storage.sqlkit.scripts import Pieces, numbered, shared_heads, shared_texts
from romancy_postgres.engines import PLAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.storage.sql import Head
    from romancy_postgres.engines import Engine

__all__ = ["FILES", "PIECES", "heads", "statements_of", "texts"]

FILES: Final = (
    "queries.sql", "commits.sql", "routing.sql", "claims.sql", "outbox.sql", "reading.sql", "upkeep.sql",
    "journal.sql",
)  # fmt: skip
# Compared by `any`, a status stays in the order: the planner then cannot prefer to walk all instances by their age.
PIECES: Final = Pieces(
    only="= any (array[{}])",
    within="{},",
    as_if_newest="order by {}, created_at desc, instance_id desc",
    among="= any ({}::text[])",
    now="romancy_now()",
    held="for no key update",
    lane="split_part({}, chr(31), 1)",
)
_PART: Final = re.compile(r":(part_\w+)(?:\+(\d+))?")
_NUMBER: Final = re.compile(r"\$(\d+)")


def texts(prefix: str = DEFAULT_PREFIX, schema: str | None = None, engine: Engine = PLAIN) -> dict[str, str]:
    """Parameters are numbered, in the order of the head."""
    shared, known = shared_texts(PIECES, prefix, schema), shared_heads()
    return {
        **{name: numbered(text, known[name].parameters) for name, text in shared.items()},
        **statements_of(queries_of(__package__ or "", FILES + engine.scripts, prefix, schema)),
    }


def heads() -> dict[str, Head]:
    """The heads of those that operations ask for."""
    return {**shared_heads(), **heads_of(__package__ or "", FILES)}


def statements_of(texts: Mapping[str, str]) -> dict[str, str]:
    """The statements among these texts, each with its parts."""
    return {name: _whole(text, texts) for name, text in texts.items() if not name.startswith("part_")}


def _whole(text: str, texts: Mapping[str, str]) -> str:
    return _PART.sub(lambda found: _shifted(_whole(texts[found[1]], texts), int(found[2] or 0)), text)


def _shifted(part: str, by: int) -> str:
    return _NUMBER.sub(lambda number: f"${int(number[1]) + by}", part) if by else part
