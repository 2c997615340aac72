"""The scripts of TiDB, without a server: names and parameters as MySQL's, and nothing that means another thing."""

from __future__ import annotations

import re
from typing import Final

import pytest

from romancy.storage.sql import heads_of, queries_of
from romancy_mysql._dialect import Dialect
from romancy_mysql._migrations import known_migrations
from romancy_mysql._scripts import FILES, heads, texts
from romancy_mysql.engines import PLAIN
from romancy_mysql.engines.tidb import CLOCK, ENGINE, MOMENT, THEIR_CLOCK

PACKAGE: Final = "romancy_mysql"
MEANS_ANOTHER_THING: Final = {
    "skip locked": "it locks nothing",
    "lock in share mode": "it is refused, or locks nothing",
    "select 1 union all select 2": "it runs while the statement is planned",
    "into @": "it is refused",
    "json_table": "it is refused",
    "with recursive": "one that probes a table for what comes next does not end",
    "utc_timestamp": "it is the clock of one server",
}
UNUSED: Final = {
    "see_uncommitted", "find_old", "prune_named", "outbox_due", "hold_free", "signal_free", "number_free",
    "still_uncounted", "await_change", "former_schema_steps", "claim_chosen",
}  # fmt: skip
"""The scripts of MySQL that TiDB never runs: operations of its own answer them, or nobody asks."""
IN_ANY_ORDER: Final = {
    "read_mailboxes": "the boxes of a claim, each found by its instance",
    "tally": "each line says what it counts",
    "open_work": "each line says what it counts",
    "trend": "each line says what it counts",
    "pace": "each line says what it counts",
}
"""The scripts whose rows are the parts of a union, and why it does not matter which comes first."""


def words(text: str) -> set[str]:
    return set(re.findall(r"(?<![:\w]):([a-z]\w*)", text))


def test_what_tidb_has_in_the_place_of_a_script_takes_and_returns_the_same() -> None:
    theirs, ours = queries_of(PACKAGE, FILES), queries_of(PACKAGE, ENGINE.scripts)
    their_heads, our_heads = heads_of(PACKAGE, FILES), heads_of(PACKAGE, ENGINE.scripts)

    for name in ours.keys() & theirs.keys():
        assert words(ours[name]) == words(theirs[name]), name
        assert our_heads.get(name) == their_heads.get(name), name


@pytest.mark.parametrize("phrase", MEANS_ANOTHER_THING)
def test_no_script_of_tidb_has_what_means_another_thing_there(phrase: str) -> None:
    found = {name for name, text in texts(engine=ENGINE).items() if phrase in text}

    assert found <= UNUSED, MEANS_ANOTHER_THING[phrase]


def test_every_time_is_that_of_the_cluster() -> None:
    theirs, ours = texts(), texts(engine=ENGINE)

    assert {name for name, text in theirs.items() if THEIR_CLOCK in text} >= {"from_living", "claim_due", "read_now"}
    for name in theirs:
        assert THEIR_CLOCK not in ours[name]
        assert (CLOCK in ours[name] or MOMENT in ours[name]) is (THEIR_CLOCK in theirs[name]), name


def test_a_time_that_is_compared_has_no_variable_which_no_index_is_read_up_to() -> None:
    ours = texts(engine=ENGINE)

    assert {name for name, text in ours.items() if f"<= {MOMENT}" in text} >= {"claim_due", "outbox_seen"}
    assert not {name for name, text in ours.items() if re.search(rf"[<>]=? {re.escape(CLOCK)}", text)}


def test_the_interpreter_knows_each_script_that_fails_for_a_held_row() -> None:
    failing = {name for name, text in texts(engine=ENGINE).items() if "nowait" in text}

    assert failing == ENGINE.fail_if_held | {"claim_locked"}
    assert ENGINE.fail_if_held <= heads(ENGINE).keys()
    assert "outbox_due" in ENGINE.operations


def test_a_script_of_a_union_is_known_to_need_no_order() -> None:
    found = {name for name, text in texts(engine=ENGINE).items() if _unites(text)}

    assert found == IN_ANY_ORDER.keys()


def _unites(text: str) -> bool:
    """Whether the statement itself is a union, and not a part of it in brackets."""
    depth = 0
    for found in re.finditer(r"[()]|\bunion all\b", text):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if found[0] == "union all" and not depth:
            return True
    return False


def test_the_schema_is_that_of_mysql_with_a_view_of_its_own() -> None:
    of_mysql, of_tidb = (
        known_migrations(Dialect(engine, (9, 0, 0)))[0].sql.partition("create or replace view")
        for engine in (PLAIN, ENGINE)
    )
    tables = [
        re.findall(r"^create table if not exists (\w+)", text, re.MULTILINE) for text, _, _ in (of_mysql, of_tidb)
    ]

    assert tables[0] == tables[1] != []
    assert "json_table" not in of_tidb[2]
