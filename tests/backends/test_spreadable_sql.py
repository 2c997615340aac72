"""The rules of decision 0069 for scripts, which engines that spread tables over machines need.

They are held against the texts of every dialect. What breaks a rule is listed by name, with the reason, and a list may
only become shorter.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Final

import pytest

from tests.backends.clauses import queries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Rule = Callable[[str, str], Iterator[str]]

DIALECTS: Final = ("sqlite", "postgres", "mysql")
UNITS: Final = {
    "instances": "instance_id",
    "log": "instance_id",
    "inbox": "instance_id",
    "index": "instance_id",
    "outbox": "outbox_id",
    "seen": "unit",
    "messages": "address",
    "interests": "owner",
    "addresses": "address",
    "letters": "subscriber",
    "workers": "token",
    "index_sets": "workflow_name",
}
"""The column that says where a row of each table lies."""
CLOCK: Final = {
    "sqlite": r"strftime\(|julianday\(|unixepoch\(|datetime\(|current_timestamp",
    "postgres": r"romancy_now\(|clock_timestamp\(|\bnow\(|current_timestamp",
    "mysql": r"utc_timestamp\(|\bnow\(|sysdate\(|unix_timestamp\(|current_timestamp",
}
"""The functions that tell the time."""
FOR: Final = re.compile(r"for (?:no key )?update|for (?:key )?share")


def no_unit(dialect: str, script: str) -> Iterator[str]:
    """A row is changed or removed whose unit the statement does not name."""
    for query in queries(script):
        clauses = list(query.clauses())
        for verb, table in clauses:
            named = re.match(r"\s+romancy_(\w+)", table) if verb in ("update", "delete from") else None
            if named is not None and named[1] in UNITS:
                found = " ".join(rest for word, rest in clauses if word in ("where", "from", "using"))
                if not re.search(rf"\b{UNITS[named[1]]}\b", found):
                    yield named[1]


def times(dialect: str, script: str) -> Iterator[str]:
    """The time is asked for more than once."""
    count = len(re.findall(CLOCK[dialect], script))
    if count > 1:
        yield f"{count} times"


def time_in_a_condition(dialect: str, script: str) -> Iterator[str]:
    """The time is asked for where rows are chosen or changed, and not in what a SELECT or VALUES gives."""
    for query in queries(script):
        for verb, rest in query.clauses():
            if re.search(CLOCK[dialect], rest) and verb not in ("select", "values"):
                yield verb


def locks_of_several(dialect: str, script: str) -> Iterator[str]:
    """A query that locks rows reads more than one table."""
    for query in queries(script):
        clauses = list(query.clauses())
        if any(FOR.fullmatch(verb) for verb, _ in clauses):
            sources = " ".join(rest for verb, rest in clauses if verb == "from")
            if "," in sources or re.search(r"\bjoin\b|\(\)", sources):
                yield query.part or " ".join(sources.split())


def without_columns(dialect: str, script: str) -> Iterator[str]:
    """A part of a WITH has no column."""
    for query in queries(script):
        first = next((rest for verb, rest in query.clauses() if verb == "select"), "columns")
        if query.part and not first.strip():
            yield query.part


def loose_union(dialect: str, script: str) -> Iterator[str]:
    """The rows of an answer come from several parts, in no order."""
    for query in queries(script):
        words = [verb for verb, _ in query.clauses()]
        if query.outermost and "union all" in words and "order by" not in words:
            yield "union all"


def recursive_change(dialect: str, script: str) -> Iterator[str]:
    """A walk from key to key is the source of a change."""
    for query in queries(script):
        words = [verb for verb, _ in query.clauses()]
        if query.outermost and "with recursive" in query.text and {"update", "delete from"} & set(words):
            yield "with recursive"


_SWEEP: Final = "a sweep, which changes what it finds by other columns, on each machine"
_SMALL: Final = "the table is small, and each machine has all of it"
_ONE_FILE: Final = "the database is one file"
_ONE_A_STATEMENT: Final = "a statement of MySQL has one time, however often it asks for it"
_ANY_ORDER: Final = "whoever reads the rows makes a mapping or a set of them"

BROKEN: Final[Mapping[Rule, dict[str, dict[str, str]]]] = {
    no_unit: {
        "sqlite": {
            "prune_workers": _SMALL,
            "lock_file": "it removes nothing",
            "wake_asleep": _ONE_FILE,
            "wake_stranded": _ONE_FILE,
            "wake_parked": _ONE_FILE,
        },
        "postgres": {"prune_workers": _SMALL, "prune_seen": _SWEEP},
        "mysql": {"prune_seen": _SWEEP, "outbox_purge": _SWEEP},
    },
    times: {
        "mysql": dict.fromkeys(
            (
                "change_instances", "signal_instances", "register", "free_from_dead", "count_mail", "offer_asleep",
                "claim_due", "turn_of", "outbox_record", "outbox_requeue", "add_interests", "signal_free",
                "interest_put", "restore_instance",
            ),
            _ONE_A_STATEMENT,
        ),
    },
    time_in_a_condition: {
        "mysql": dict.fromkeys(
            (
                "change_instances", "signal_instances", "beat_again", "free_from_dead", "find_uncounted", "count_mail",
                "offer_asleep", "dead_workers", "claim_due", "claim_chosen", "turn_of", "outbox_due", "outbox_give",
                "outbox_record", "outbox_unpark", "outbox_requeue", "add_interests", "signal_free", "interest_put",
                "sweep_messages", "sweep_interests",
            ),
            _ONE_A_STATEMENT,
        ),
    },
    locks_of_several: {},
    without_columns: {},
    loose_union: {
        "sqlite": dict.fromkeys(("tally", "open_work", "trend", "pace", "mailboxes", "outbox_counts"), _ANY_ORDER),
        "postgres": dict.fromkeys(
            ("tally", "open_work", "trend", "pace", "route_copy", "sweep_owners", "outbox_counts"), _ANY_ORDER
        ),
        "mysql": dict.fromkeys(("tally", "open_work", "trend", "pace", "read_mailboxes"), _ANY_ORDER),
    },
    recursive_change: {"sqlite": {"outbox_sweep": _ONE_FILE}},
}  # fmt: skip
"""The scripts that break a rule, by dialect, and why."""


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("rule", BROKEN)
def test_scripts_hold_the_rule(rule: Rule, dialect: str) -> None:
    pytest.importorskip({"sqlite": "sqlite3", "postgres": "asyncpg", "mysql": "pymysql"}[dialect])
    texts: Mapping[str, str] = import_module(f"romancy_{dialect}._scripts").texts()

    found = {name: broken for name, text in texts.items() if (broken := list(rule(dialect, text)))}

    assert found.keys() == BROKEN[rule].get(dialect, {}).keys(), f"{rule.__doc__} {found}"


BAD: Final[Mapping[Rule, str]] = {
    no_unit: "with old as (select 1 as n) update romancy_log l set n = old.n from old where l.seq = 1",
    times: "select romancy_now() where romancy_now() > 1",
    time_in_a_condition: "update romancy_log set at = least(at, romancy_now()) where instance_id = $1",
    locks_of_several: "with held as materialized (select a.x from a join b on a.x = b.x for update of a) select 1 as n",
    without_columns: "with alive as materialized (select from romancy_workers) select 1",
    loose_union: "select 1 union all (select 2 order by 1)",
    recursive_change: "with recursive a (b) as (select 1 union all select b from a) delete from c using a",
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_script_that_breaks_the_rule_is_found(rule: Rule) -> None:
    good = """
        with clock as materialized (select romancy_now() as now from (select count(*) from held) as locked),
        held as materialized (select x from romancy_log where instance_id = $1 for update)
        update romancy_log l set at = least(l.at, (select now from clock))
        from held where l.instance_id = $1 and exists (select from held)
    """

    assert list(rule("postgres", BAD[rule])) != []
    assert list(rule("postgres", good)) == []
