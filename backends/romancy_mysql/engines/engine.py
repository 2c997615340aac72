"""What may be otherwise on an engine that speaks MySQL's wire. The defaults are what MySQL and its closest kin do.

The adapter reads these fields and never asks which engine it is. Each engine is a value of its own module here. A field
says a fact about the server, and is named after it. Knows no connection and no engine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from msgspec import Struct

from romancy.storage.sqlkit.statements import Own
from romancy_mysql._protocol import Answer

if TYPE_CHECKING:
    from romancy.storage.upkeep import Verdict

__all__ = ["Engine", "Errors", "KnownBy", "Opening", "Wanted", "Worded"]

_OLD_PREFIX: Final = re.compile(r"5\.5\.5-")
"""A prefix to a version, for clients that know no two-digit versions."""


class KnownBy(Struct, frozen=True, kw_only=True, eq=False):
    """How a server of this engine is recognised, whatever the URL's scheme says."""

    announced: str = ""
    """A word of the version that it announces, in small letters. Empty for the engine of all servers without one."""
    before_version: re.Pattern[str] = _OLD_PREFIX
    """What stands before its own version in the one that it announces."""
    oldest: tuple[int, int, int]
    """The oldest version that works."""
    comment: re.Pattern[str] | None = None
    """What the comment to its version has, which nobody can configure. With groups: its version, if not announced."""
    to_be_known: str = ""
    """What to do if it announces the version of another engine."""
    otherwise: str = ""
    """The error for a server that announces this engine, and whose comment is not that of one. It names `{comment}`."""
    scheme: str = ""
    """The scheme of a URL that says that the server is this engine, whatever version it announces."""
    port: int = 3306
    """Its usual port, with that scheme."""

    @property
    def tells_version_in_comment(self) -> bool:
        return self.comment is not None and self.comment.groups > 0


class Opening(Struct, frozen=True, kw_only=True, eq=False):
    """What is checked once more when a store opens. Both checks raise StorageConfigurationError."""

    check_name: Callable[[str, str], None]
    """Refuses the name of a database; also given where the server is."""
    asked: bytes
    what: str
    """What is asked for, in messages."""
    check_answers: Callable[[list[Answer], str, str], None]


class Worded(NamedTuple):
    """An error whose number is also that of others, so that it is known by its words."""

    numbers: frozenset[int]
    phrase: str
    means: Literal["lost", "misconfigured"]
    told: str
    """Names `{what}`, the statement, and `{code}`."""


class Errors(Struct, frozen=True, kw_only=True, eq=False):
    """The errors of an engine that others do not have, by what they mean. No number means two things on this wire."""

    transient: frozenset[int] = frozenset()
    mismatches: frozenset[int] = frozenset()
    """A statement was made to fail, because it touched too few rows."""
    refused_values: frozenset[int] = frozenset()
    overruns: frozenset[int] = frozenset()
    """A statement took too much time or memory."""
    detached: frozenset[int] = frozenset()
    """The server refuses everything, and another one may be reached instead."""
    unavailable: Mapping[int, str] = MappingProxyType({})
    misconfigured: Mapping[int, str] = MappingProxyType({})
    worded: tuple[Worded, ...] = ()


class Wanted(NamedTuple):
    """A setting of the server that is judged: the values that are right, and what another one costs."""

    name: str
    values: tuple[str, ...]
    otherwise: Verdict
    cost: str


class Engine(Struct, frozen=True, kw_only=True, eq=False):
    """One engine, as the adapter speaks to it."""

    product: str
    """Its name for people."""
    addition: str = ""
    """What follows the name and the version."""
    known_by: KnownBy
    opening: Opening | None = None
    errors: Errors = Errors()

    # ── texts ──
    scripts: tuple[str, ...] = ()
    """Files of scripts that replace those of the same name, and add some."""
    written: Callable[[str], str] | None = None
    """Writes each script in its words."""
    migrations: str
    """The kind of migration files that it takes, where there are several."""
    select: bytes = b"select "
    """How a search begins, which is no script."""
    check: bytes = b"set @romancy = if(%brow_count() = %d, 0, (select 1 union all select 2))"
    """Fails if the rows touched are too few. The server adds them up before."""
    place: bytes = b"select concat_ws('|', @@hostname, @@port, @@socket, @@datadir)"
    """What two connections have in common if one sees what the other one writes."""
    folds_letters: bool = True
    """Whether it has TIS-620, a character set whose only capitals are A to Z."""
    operations: Own = MappingProxyType({})
    """Scripts that are operations there, or others than elsewhere."""

    # ── sessions and transactions ──
    session: str = ""
    """Further settings of each session, as assignments of SET SESSION, each behind a comma."""
    prepares: bool = True
    """Whether the server may be asked to prepare statements."""
    resets: bool = True
    """Whether COM_RESET_CONNECTION leaves a session as a new one. Otherwise its connection is not used again."""
    wraps: bool = False
    """Whether a packet outside of a transaction is made one, because its statements would have no time in common."""
    levels_stay: bool = False
    """Whether a level of isolation for the next transaction stays for all that follow. `see_committed` ends it."""
    loses_begin: bool = False
    """Whether the server may undo the beginning of a transaction in the middle of a packet, and carry out the rest."""
    reads_while_planning: bool = False
    """Whether a subquery that names nothing of the statement around it is read while that is planned, maybe as of the
    begin of the transaction. `predecessors_now` stands for `predecessors` there.
    """
    session_begun: bytes = b""
    session_ends: bytes = b""
    """Sent when the transaction of a session begins, and before Romancy's statements at its end."""
    not_serializable: str = ""
    """Why it has no such level of isolation, although it takes the word."""

    # ── locks ──
    fail_if_held: frozenset[str] = frozenset()
    """The scripts with NOWAIT that stand for those with SKIP LOCKED. The adapter leaves out what somebody holds."""
    shared_locks: bool = True
    row_locks: bool = True
    """Whether a locked row is locked for all who use the database."""
    named_locks: bool = True
    """The same of a named lock. Otherwise a process that migrates holds a row."""

    # ── several servers ──
    transactions: Literal["sets", "last of each domain", ""] = ""
    """How a server tells the transactions that it has. Empty: its servers keep no rows, so none is behind another."""
    numbers_alike: bool = True
    """Whether the servers of one database give a transaction the same number."""
    tells_age: bool = False
    """Whether it tells when the last transaction that a replica has was committed."""
    applied: bytes = b""
    """Asks for the number of the last transaction that this server has applied, if others write beside it."""

    # ── reading ──
    waits: bool = True
    """Whether one statement sees what others commit meanwhile, and may take a while."""
    needs_advice: bool = False
    """Whether the planner has to be told of an index that leaves few rows."""
    wanted_settings: tuple[Wanted, ...] = ()
    """The settings of its own storage that are judged, in the place of those of InnoDB."""

    @property
    def skips_locked(self) -> bool:
        """Whether SKIP LOCKED leaves out what others hold, and locks the rest."""
        return not self.fail_if_held
