"""TiDB: its clock, its session, its check of counts, its errors, and scripts that are operations there.

It accepts SKIP LOCKED and locks nothing by it. The scripts that it needs in other words, and its own: `tidb.sql`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from romancy.status import TERMINAL_STATUSES
from romancy.storage.sqlkit.statements import Answer, Ask, ask, look
from romancy_mysql._apart import free_apart_by_probes
from romancy_mysql._routing import write_uncounted
from romancy_mysql.engines.engine import Engine, Errors, KnownBy, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from romancy.storage.sqlkit.statements import Operation, Own, Values

__all__ = ["CLOCK", "ENGINE", "MOMENT", "SETTINGS", "THEIR_CLOCK"]

THEIR_CLOCK: Final = "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))"
"""The time as the scripts of MySQL have it: on TiDB that of one of many servers."""
_BEGUN: Final = "(nullif(@@TIDB_CURRENT_TS, 0) >> 18) * 1000 + least(@@TIDB_CURRENT_TS & 262143, 999)"
MOMENT: Final = f"cast({_BEGUN} as signed)"
"""When the transaction began, by the cluster: milliseconds, and a count within each. NULL outside a transaction, so
that nothing is written with a wrong time. In capitals, which no prefix of tables has.
"""
CLOCK: Final = f"cast({_BEGUN} + coalesce(@LATE_BY, 0) as signed)"
"""The time of the cluster: the same, but also in a session that began long ago."""
_COMPARED: Final = re.compile(rf"(?:(?<=[<>] )|(?<=[<>]= )){re.escape(THEIR_CLOCK)}")
_SESSION_BEGUN: Final = f"; set @LATE_BY = null, @BEGUN_AT = {THEIR_CLOCK}".encode()
_SESSION_ENDS: Final = f"; set @LATE_BY = {THEIR_CLOCK} - @BEGUN_AT".encode()
"""In a session, whose transaction may have begun long ago: how long ago, by the clock of its server."""
_CHECK: Final = b"set @romancy = json_length('1', if(%brow_count() = %d, '$', '-'))"
"""Fails if too few rows were touched. A subquery of two rows would fail always: TiDB reads it while it plans. `-` is no
path of JSON.
"""
SETTINGS: Final[Mapping[str, str]] = {
    "tidb_txn_mode": "'pessimistic'",  # other transactions fail at their commit only, and NOWAIT means nothing to them
    "tidb_constraint_check_in_place_pessimistic": "1",  # otherwise an INSERT counts a row that is there already
    "tidb_guarantee_linearizability": "1",  # a transaction that begins after a commit was acknowledged sees it
    "tidb_low_resolution_tso": "0",
    "tidb_read_staleness": "0",
    "tidb_enable_external_ts_read": "0",
    "tidb_rc_read_check_ts": "0",
    "tidb_rc_write_check_ts": "0",
    "tidb_dml_type": "'standard'",  # 'bulk' commits in parts
    "tidb_txn_entry_size_limit": "33554432",  # a row may hold the largest input, an error and a projection
}
"""Settings of a session, without which a statement would have another meaning. Some are accepted with defaults that
somebody may have changed.
"""


def _written(text: str) -> str:
    """A script with the time of the cluster.

    What is compared is a constant to TiDB, so that it reads an index up to there. With a variable it would read on,
    also through what is never due. No session runs such a script.
    """
    return _COMPARED.sub(MOMENT, text).replace(THEIR_CLOCK, CLOCK)


def _prune_old(values: Values) -> Operation[Answer]:
    statuses = sorted(TERMINAL_STATUSES.intersection(values["statuses"]))
    answers = yield from look(*(Ask("old_instances", {**values, "status": status}) for status in statuses))
    ids = [row[0] for answer in answers for row in answer.rows][: values["limit"]]
    return (yield from _ended(ids, statuses, values["before"] - 1))


def _prune_named(values: Values) -> Operation[Answer]:
    (found,) = yield from look(Ask("named_instances", values))
    return (yield from _ended([row[0] for row in found.rows], values["statuses"], values["until"]))


def _ended(ids: list[str], statuses: Sequence[str], until: int) -> Operation[Answer]:
    if not ids:
        return Answer((), 0)
    return (yield from ask("ended_locked", ids=sorted(ids), statuses=[*statuses], until=until))


def _outbox_due(values: Values) -> Operation[Answer]:
    """Twice as many are read as are wanted, for the case that another relay holds the first ones."""
    limit = values["limit"]
    (seen,) = yield from look(Ask("outbox_seen", {"limit": 2 * limit}))
    ids = [row[0] for row in seen.rows]
    rows: list[Sequence[object]] = []
    while ids and len(rows) < limit:
        some, ids = ids[: limit - len(rows)], ids[limit - len(rows) :]
        rows += (yield from ask("outbox_locked", ids=sorted(some))).rows
    return Answer(rows, len(rows))


_OPERATIONS: Final[Own] = {
    "prune_old": _prune_old,
    "prune_named": _prune_named,
    "outbox_due": _outbox_due,
    "route_write": write_uncounted,
    "free_apart": free_apart_by_probes,
}

_TRIP: Final = "each commit waits for the storage once more"
_ERRORS: Final = Errors(
    # Conflicts of transactions, and of a transaction with a change of the schema.
    transient=frozenset({8002, 8005, 8022, 8028, 9007}),
    mismatches=frozenset({3143}),  # no path of JSON: `_CHECK`
    refused_values=frozenset({8004, 8025, 8178}),  # a transaction, an entry or a key that is too large
    overruns=frozenset({8175, 8253, 8254}),
    unavailable={
        8027: "the server does not know the newest schema; can it reach its cluster?",
        8120: "the cluster's placement driver gave no time",
        8175: "the statement needs more memory than the server's tidb_mem_quota_query allows; raise it",
        8176: "the server ran out of the memory that its tidb_server_memory_limit allows",
        8229: "the transaction was open for longer than the server's tidb_gc_life_time allows",
        8252: "the account's resource group has used up its quota",
        8253: "the account's resource group cut the statement as a runaway",
        8254: "the account's resource group watches for this statement as a runaway",
        9001: "the cluster's placement driver does not answer",
        9002: "a storage node of the cluster does not answer",
        9003: "a storage node of the cluster is busy",
        9004: "rows stayed locked by other transactions",
        9005: "a region of the cluster is not available",
        9006: "the snapshot is older than the server's tidb_gc_life_time allows",
        9008: "a storage node of the cluster takes no more requests at once",
        9010: "a storage node of the cluster took the request for stale",
        9011: "a storage node of the cluster does not know the newest time yet",
    },
    misconfigured={
        1193: "the server lacks a setting that TiDB has; if it is no TiDB, write mysql:// or mariadb:// in the URL",
        8048: "the server has no such isolation level",
        8249: "the account's resource group does not exist",
    },
)

ENGINE: Final = Engine(
    product="TiDB",
    known_by=KnownBy(
        announced="tidb",
        before_version=re.compile(r".*TiDB-v?", re.IGNORECASE),  # the version of MySQL that it imitates
        oldest=(8, 5, 0),  # the oldest one tried
        # The version that it announces can be chosen in its configuration. It has to be known: it accepts statements of
        # MySQL's and locks nothing by them.
        comment=re.compile(r".*tidb", re.IGNORECASE | re.DOTALL),
        to_be_known="write tidb:// in the URL",
        otherwise="this server is not TiDB but {comment!r}; write mysql:// or mariadb:// in the URL",
        scheme="tidb",
        port=4000,
    ),
    errors=_ERRORS,
    scripts=("engines/tidb.sql",),
    written=_written,
    migrations="tidb",
    check=_CHECK,
    place=b"select @@datadir",  # where the cluster keeps its data
    folds_letters=False,
    operations=_OPERATIONS,
    session="".join(f", {name} = {value}" for name, value in SETTINGS.items()),
    prepares=False,
    wraps=True,  # it would be optimistic, and have no time
    reads_while_planning=True,
    session_begun=_SESSION_BEGUN,
    session_ends=_SESSION_ENDS,
    not_serializable="TiDB has no such level",
    fail_if_held=frozenset({"free_instances", "free_place", "ended_locked", "outbox_locked"}),
    shared_locks=False,
    waits=False,  # a statement sees one snapshot until it ends
    needs_advice=True,  # it chooses badly before it has counted the instances
    wanted_settings=(
        Wanted("tidb_super_read_only", ("OFF", "0"), "problem", "nothing can be written"),
        Wanted("tidb_restricted_read_only", ("OFF", "0"), "problem", "nothing can be written"),
        Wanted("tidb_enable_async_commit", ("ON", "1"), "note", _TRIP),
        Wanted("tidb_enable_1pc", ("ON", "1"), "note", _TRIP),
    ),
)
