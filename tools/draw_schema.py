"""Draw the schema page from real, freshly migrated databases.

Run as `python -m tools.draw_schema`; it starts the servers it needs and writes `docs/schema.md`. `tools/schema.toml`
explains the tables and columns.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from romancy.storage.backends import create_store
from romancy_conformance.servers import Kind, fresh_database
from tools import tree
from tools.schema_catalogues import DIALECTS, dialect_of, read_schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tools.schema_catalogues import Table

    Facts = dict[str, str]
    Meanings = Mapping[str, Mapping[str, str]]

__all__ = ["PAGE", "facts_of", "meanings", "migrated", "read_page", "render"]

PAGE = tree.ROOT / "docs" / "schema.md"
MEANINGS = tree.ROOT / "tools" / "schema.toml"
NAMES = tuple(DIALECTS.values())
ABSENT = "–"
INTRODUCTION = """# The schema

Every adapter creates the same tables with the types of its database. `python -m tools.draw_schema` generates this
page from freshly migrated databases, and a test fails when the page is out of date. The names begin with
`romancy_` unless the URL says `prefix=…`. Times are microseconds since the epoch, UTC, by the database's clock; ids are
compared byte for byte; bodies are stored unchanged.

Some tables are the truth. Others can be made again from them with
[`romancy rebuild`](guide/failover.md#what-can-be-made-again).

- Truth: `romancy_log`.
- Truth, until a log holds it or it has been sent: `romancy_inbox`, pending rows of `romancy_outbox`,
  `romancy_messages`, `romancy_letters`.
- Truth for a while: the keys in `romancy_seen`.
- Truth about subscribers outside, limits that an operator has chosen, and retention by default: their rows of
  `romancy_interests` (`life` 0), and `romancy_addresses`.
- Derived from the logs: `romancy_instances`, `romancy_index`, `romancy_index_sets`, and the interests of instances in
  `romancy_interests`.
- Derived from the inbox: `romancy_uncounted`.
- Of running processes: `romancy_workers`.
- For people alone: `romancy_journal`.
"""


def meanings() -> Meanings:
    """Return the purpose of each table (`about`) and of each of its columns."""
    loaded: Meanings = tomllib.loads(MEANINGS.read_text("utf-8"))
    return loaded


async def migrated(url: str) -> list[Table]:
    """Return the schema that the adapter makes in the empty database at `url`."""
    store = create_store(url)
    await store.open()
    await store.close()
    return await read_schema(url)


def facts_of(tables: Sequence[Table]) -> Facts:
    """Return one database's schema as the cells of the page: `table.column`, and `table` for its keys."""
    facts: Facts = {}
    for table in tables:
        # The type of a view's column depends on the version of the database.
        facts[table.name] = "a view" if table.view else "; ".join(f"`{index}`" for index in table.indexes)
        facts |= {f"{table.name}.{one.name}": "shown" if table.view else str(one) for one in table.columns}
    return facts


def render(schemas: Mapping[str, Facts], words: Meanings) -> str:
    """Return the page."""
    lines = [INTRODUCTION]
    for table, columns in words.items():
        lines += [
            f"## {table}\n",
            f"{columns['about']}\n",
            f"| column | meaning | {' | '.join(NAMES)} |",
            "|---" * 6 + "|",
        ]
        for column, meaning in columns.items():
            if column != "about":
                cells = [schemas[name].get(f"{table}.{column}", ABSENT) for name in NAMES]
                lines.append(f"| `{column}` | {meaning} | {' | '.join(cells)} |")
        lines += ["", *(f"- {name}: {schemas[name].get(table, ABSENT)}" for name in NAMES), ""]
    return "\n".join(lines)


def read_page(text: str) -> tuple[dict[str, Facts], Meanings]:
    """Return what a page contains: the cells of each database, and the explanations."""
    schemas: dict[str, Facts] = {name: {} for name in NAMES}
    words: dict[str, dict[str, str]] = {}
    for section in text.split("\n## ")[1:]:
        table, _, about, *lines = section.splitlines()
        words[table] = {"about": about}
        for line in lines:
            if line.startswith("| `"):
                column, meaning, *cells = line.strip("| ").split(" | ")
                words[table][column.strip("`")] = meaning
                facts = dict(zip(NAMES, cells, strict=True))
                key = f"{table}.{column.strip('`')}"
            elif line.startswith("- "):
                name, _, keys = line.removeprefix("- ").partition(": ")
                facts, key = {name: keys}, table
            else:
                continue
            for name, fact in facts.items():
                schemas[name] |= {key: fact} if fact != ABSENT else {}
    return schemas, words


def main() -> int:
    words = meanings()
    with tempfile.TemporaryDirectory() as folder:
        urls = [f"sqlite:///{Path(folder) / 'schema.db'}", *(fresh_database(kind) for kind in Kind if not kind.built)]
        schemas = {dialect_of(url): facts_of(asyncio.run(migrated(url))) for url in urls}
    found = {key.partition(".")[::2] for facts in schemas.values() for key in facts}
    unsaid = sorted(".".join(one).rstrip(".") for one in found if one[1] not in words.get(one[0], {}) and one[1])
    if unsaid:
        print(f"{tree.name_of(MEANINGS)}: say what these are: {', '.join(unsaid)}")
        return 1
    PAGE.write_text(render(schemas, words), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
