"""Vitess: levels of isolation, shared reads, its errors, and what it is asked at opening.

Its gate speaks for MySQL, and keeps a session of its own: what a statement sets there reaches the connection to MySQL
only as far as the gate understands it. The scripts that it needs in other words are in `vitess.sql`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from romancy.errors import StorageConfigurationError
from romancy_mysql import _apart, _routing
from romancy_mysql.engines import mysql
from romancy_mysql.engines.engine import Engine, Errors, KnownBy, Opening, Worded

if TYPE_CHECKING:
    from romancy_mysql._protocol import Answer

__all__ = ["ENGINE", "check_gate", "check_target", "written"]

_ASKED: Final = (
    b"show vschema keyspaces; show vitess_shards; "
    b"select @@transaction_isolation, @@innodb_lock_wait_timeout, @@time_zone, @@sql_mode"
)
"""What is asked at opening: the keyspaces, their shards, and what a session has of what was set."""
_SETTINGS: Final = ", transaction_mode = 'single', ddl_strategy = 'direct', workload = 'oltp'"
"""A transaction over two shards or keyspaces is refused: its commit would be two. A change of the schema is made at
once, and not queued.
"""
_READS: Final = re.compile(r"^(?:\(*|with\b.*?\)\n)select\b", re.DOTALL)
"""The statement's own SELECT, also behind what WITH has named."""
_UNSHARED: Final = " /*vt+ CONSOLIDATOR=disabled */"
"""A tablet gives the answer to a read to all who ask the same meanwhile: one that began before a commit, also to who
asks after it.
"""
_SELECT: Final = f"select{_UNSHARED} ".encode()
"""How a search begins, which is no script."""
_REMOVES: Final = re.compile(r"^delete from ")
_LIMIT: Final = " limit "
"""A tablet lets a statement on one table change 10,000 rows at most, unless it has a limit of its own."""
_TARGET: Final = re.compile(r"[@:/\[\]]")
_WANTED: Final = ("READ-COMMITTED", "1", "+00:00")


def written(text: str) -> str:
    """A script with the advice to give its answer to nobody else, and without a tablet's limit of what it removes."""
    if _REMOVES.match(text) and _LIMIT not in text:
        return f"{text}{_LIMIT}1000000000"
    return _READS.sub(lambda found: found[0] + _UNSHARED, text)


def check_target(database: str, where: str) -> None:
    """Refuse a URL that names more than a keyspace: replicas, which lag, or one of several shards."""
    if _TARGET.search(database):
        raise StorageConfigurationError(
            f"{where}: {database!r} is a target of Vitess, and not a keyspace alone; write the keyspace, whose primary "
            "Romancy then uses"
        )


def check_gate(answers: list[Answer], database: str, where: str) -> None:
    """Raise StorageConfigurationError if the keyspace is spread, or if the gate does not set what it is told to set."""
    keyspaces, shards, settings = (answer.rows for answer in answers)
    spread = any(str(one[0]) == database and str(one[1]) == "true" for one in keyspaces)
    there = [shard for (name,) in shards if (shard := str(name)).startswith(f"{database}/")]
    if spread or len(there) > 1:
        raise StorageConfigurationError(
            f"{where}: the keyspace {database!r} is sharded ({', '.join(there)}); Romancy needs one that is not: "
            "create another keyspace with one shard, or several, one for each app"
        )
    found = [str(one) for one in settings[0]]
    if tuple(found[:3]) != _WANTED or "STRICT_TRANS_TABLES" not in found[3]:
        raise StorageConfigurationError(
            f"{where}: this gate of Vitess does not set isolation, lock waits, time zone or sql_mode for a session "
            f"(it has {', '.join(found[:3])}); start vtgate with --enable_system_settings"
        )


_ERRORS: Final = Errors(
    worded=(
        Worded(
            frozenset({1317}), "row count exceeded", "misconfigured",
            "{what} is about more rows than the --queryserver-config-max-result-size of the tablets; raise it",
        ),
        Worded(
            frozenset({1317}), "multi-db transaction attempted", "misconfigured",
            "{what} is part of a transaction over two shards or keyspaces, whose commit would be two; keep what is "
            "written together in one keyspace",
        ),
        # The gate begins so what it tells of a tablet, which or whose MySQL has failed. It tells of its last try, so an
        # earlier one may have written.
        Worded(
            frozenset({1105, 1040, 2002, 2003, 2005}), "target: ", "lost",
            "a tablet failed during {what} (error {code})",
        ),
    ),
)  # fmt: skip

ENGINE: Final = Engine(
    product="Vitess",
    known_by=KnownBy(
        announced="vitess",
        oldest=(21, 0, 0),  # the oldest one tried
        comment=re.compile(r"Version: (\d+)\.(\d+)\.(\d+).* \(Git revision "),
        # It changes sessions, so it has to be known.
        to_be_known="start vtgate with a --mysql_server_version that ends in -Vitess, as it is by default",
        otherwise="this server calls itself Vitess, and its comment is not that of one",
    ),
    opening=Opening(check_name=check_target, asked=_ASKED, what="the keyspace", check_answers=check_gate),
    errors=_ERRORS,
    scripts=("engines/vitess.sql",),
    written=written,
    migrations="tidb",  # it has no JSON_TABLE either
    select=_SELECT,
    operations={
        "register_interest": _routing.register_interest_in_rounds,
        "free_apart": _apart.free_apart_at_levels,
    },
    session=mysql.ENGINE.session + _SETTINGS,
    prepares=False,
    resets=False,  # the gate keeps what a user has set
    levels_stay=True,
    waits=False,  # a statement that waits keeps a connection of its tablet
)
