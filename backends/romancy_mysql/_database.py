"""The server as the adapter uses it: four pools, statements sent together, transactions with retries.

Pools: `work` for the engine's statements; `heartbeats` with one connection that nothing else can take; `sessions` for
user code. These share the configured size. In addition, `waiting` has one connection, which waits in the server for
changes.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from msgspec import structs

from romancy.errors import InternalError, StorageConfigurationError, StorageUnavailableError
from romancy.storage.limits import MAX_BODY_BYTES
from romancy.storage.sqlkit import pauses
from romancy.storage.sqlkit.pool import Pool
from romancy.storage.sqlkit.primary import Primary
from romancy.storage.sqlkit.statements import LockedError
from romancy_mysql._connection import HANDLING, connect
from romancy_mysql._dialect import check_product, dialect_of
from romancy_mysql._errors import (
    WHOLE,
    ConnectionLostError,
    LockWaitError,
    MismatchError,
    RefusedValueError,
    TransientError,
)
from romancy_mysql._lineage import Lineage
from romancy_mysql._migrations import bring_up_to_date
from romancy_mysql._nowait import unheld
from romancy_mysql._scripts import heads, texts
from romancy_mysql._sql import Statement, Template, comma, qualifier
from romancy_mysql.engines import IS_NODE, PLAIN, as_node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
    from typing import Any

    from romancy.storage.hosts import Host
    from romancy_mysql._connection import Line, Wire
    from romancy_mysql._dialect import Dialect
    from romancy_mysql._protocol import Answer
    from romancy_mysql._settings import Settings
    from romancy_mysql._sql import Value
    from romancy_mysql.engines import Engine

__all__ = ["Database", "check_durability", "counted", "pause"]

T = TypeVar("T")

_ENGINE_POOL = 4
_HURRY = 4
"""Divides the time-outs of heartbeats: one that hangs must leave time for another within the lease."""
_TRIES = 10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.25
_LOCK_WAITS = 3
_PACKET_BYTES = 4 * 1024 * 1024
_MARGIN = 64 * 1024
_SMALLEST_PACKET = 2 * MAX_BODY_BYTES + _MARGIN
"""Room for a body of which every byte must be escaped, and for the rest of its statement."""
_BEGIN = Statement("begin", b"start transaction")
_COMMIT = b"commit"
_SEE_UNCOMMITTED = Statement("see_uncommitted", b"set session transaction isolation level read uncommitted")
# A node of a cluster may undo the beginning of a transaction between two statements of its packet, and carry out the
# rest. Without autocommit the rest is a transaction that lacks the savepoint, and does not reach its commit.
# A node waits for what the others have committed before a SELECT, not before a transaction begins.
_BEGIN_WHOLE = Statement("begin", b"select 1; set autocommit = 0; start transaction; savepoint " + WHOLE.encode())
_COMMIT_WHOLE = b"release savepoint " + WHOLE.encode() + b"; commit; set autocommit = 1"
# The server adds up the rows touched. A sum that is too small fails before COMMIT is reached.
_COUNT = b"set @romancy = %brow_count()"
_SO_FAR = b"@romancy + "


class Database:
    """Sends statements. It raises the errors of the storage protocol, and the private errors named below."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dialect: Dialect | None = None
        self.begin, self.end = _BEGIN, _COMMIT
        """The statements that begin and commit a transaction, each perhaps more than one."""
        self.engine = PLAIN
        self.check = PLAIN.check
        """Fails if the rows touched are too few."""
        self.select = PLAIN.select
        """How a search begins."""
        self._max_packet = _SMALLEST_PACKET
        self.heads = heads()
        self._queries = _templates(settings.database, settings.prefix, PLAIN)
        self._qualified = qualifier(settings.database, settings.prefix)
        self._primary = Primary(settings.where, settings.hosts)
        self._lineage = Lineage()
        self._make_pools()
        self._open = False

    def __getitem__(self, name: str) -> Template:
        return self._queries[name]

    def statement(self, name: str, /, *, expected: int | None = None, **parameters: Value) -> Statement:
        """A named query with its parameters."""
        return self._queries[name].statement(parameters, expected=expected)

    def table(self, name: str) -> bytes:
        """A table's name as it is written in SQL."""
        return self._qualified(self.settings.prefix + name).encode()

    async def open(self, *, migrate: bool) -> None:
        """Connect once, check the server, bring the schema up to date, and allow calls."""
        if self._open:
            return
        self._make_pools()
        try:
            async with self.work.borrow() as wire:
                dialect = dialect_of(wire.server_version, self.settings.where, scheme=self.settings.scheme)
                self._speak(await self._checked_product(wire, dialect))
                await self._measure_packets(wire)
                await self.look_for_cluster(wire)
                await bring_up_to_date(self, wire, dialect, allowed=migrate)
        except BaseException:
            await self.close()
            raise
        self._open = True

    def _speak(self, dialect: Dialect) -> None:
        """From here on, use the scripts of this dialect."""
        self.dialect, self.engine = dialect, dialect.engine
        self.check, self.select = dialect.engine.check, dialect.engine.select
        self.heads = heads(dialect.engine)
        self._queries = _templates(self.settings.database, self.settings.prefix, dialect.engine)

    async def _checked_product(self, wire: Wire, dialect: Dialect) -> Dialect:
        (answer,) = await wire.run(b"select @@version_comment", "asking for the product")
        known = check_product(dialect, str(answer.rows[0][0]), self.settings.where)
        if (more := known.engine.opening) is not None:
            database, where = self.settings.database, self.settings.where
            more.check_name(database, where)
            more.check_answers(await wire.run(more.asked, f"asking for {more.what}"), database, where)
        return known

    async def close(self) -> None:
        """Close every connection. Calls in flight fail."""
        self._open = False
        await asyncio.gather(self.work.close(), self.heartbeats.close(), self.sessions.close(), self.waiting.close())

    def check_open(self) -> None:
        """Refuse a call before `open` or after `close`."""
        if not self._open:
            raise StorageUnavailableError(
                f"{self.settings.where}: not open; call `open()` first, and nothing after `close()`"
            )

    async def ask(self, *statements: Statement, pool: Pool[Wire] | None = None) -> list[Answer]:
        """Send statements that each stand alone, in one round trip. Retries while other transactions are in the way."""
        return await self.insist(lambda wire: self.send(wire, statements), pool=pool)

    async def write(self, statements: Sequence[Statement], *, lock_waits: int = _LOCK_WAITS) -> bool:
        """Run all statements or, if one of them touches fewer rows than expected, none, and return False.

        `RefusedValueError` if a value is at fault. With `lock_waits=0`, `LockWaitError` after the first lock wait.
        """
        return await self.write_then(statements, (), lock_waits=lock_waits) is not None

    async def write_then(
        self, statements: Sequence[Statement], then: Sequence[Statement], *, lock_waits: int = _LOCK_WAITS
    ) -> list[Answer] | None:
        """As `write`, and ask `then` in the same packet after the commit. None if nothing was written."""
        return await self.insist(lambda wire: self._transaction(wire, statements, then), lock_waits=lock_waits)

    async def insist(
        self, work: Callable[[Wire], Awaitable[T]], *, pool: Pool[Wire] | None = None, lock_waits: int = _LOCK_WAITS
    ) -> T:
        """Run `work` on a connection, and again on another after a deadlock or if an old connection was lost."""
        if not self._open:
            self.check_open()
        pool = pool or self.work
        waits, lost = 0, False
        for attempt in range(_TRIES):
            wire = pool.grab() or await _taken(pool, written=lost)
            fresh = wire.fresh
            try:
                return await work(wire)
            except ConnectionLostError:
                lost = True
                pool.drop_idle()
                if fresh or attempt == _TRIES - 1 or not self._open:
                    raise
            except LockWaitError:
                waits += 1
                if not lock_waits:
                    raise
                if waits >= lock_waits:
                    break
            except TransientError:
                pass
            finally:
                if self._lineage.unsure:
                    pool.give_back_after(wire, self._lineage.ask_again)
                else:
                    pool.give_back(wire)
            await pause(attempt)
        else:
            raise StorageUnavailableError(
                f"{self.settings.where}: a transaction was rolled back {_TRIES} times (deadlocks); try again"
            )
        raise LockedError(
            f"{self.settings.where}: rows stayed locked by other transactions; look for a long one on the server"
        )

    async def send(self, line: Line, statements: Sequence[Statement]) -> list[Answer]:
        """Send statements unchanged, in as few round trips as possible."""
        if len(statements) == 1:
            return await line.run(statements[0].sql, statements[0].name)
        return [answer for packet in self._packets(statements) for answer in await line.run(*packet)]

    async def carry_out(
        self, line: Line, statements: Sequence[Statement], *, last: bytes = b"", then: Sequence[Statement] = ()
    ) -> list[Answer]:
        """Run statements inside an open transaction. `MismatchError` if one touches fewer rows than expected.

        `last` (COMMIT) goes in the same packet and is reached only if all went well. So do the statements of `then`,
        whose answers are returned.
        """
        script = counted(statements, self.check)
        if last:
            script.append(Statement("commit", last))
        if self.engine.wraps:
            return await self._carry_out_wrapped(line, script, then)
        answers = [answer for packet in self._packets([*script, *then]) for answer in await line.run(*packet)]
        return answers[len(answers) - len(then) :]

    async def _carry_out_wrapped(
        self, line: Line, script: Sequence[Statement], then: Sequence[Statement]
    ) -> list[Answer]:
        answers = await self.send(line, [*script, *self.after(then)])
        return answers[len(answers) - len(then) - 1 : -1] if then else []

    def after(self, then: Sequence[Statement]) -> list[Statement]:
        """Statements to send behind a commit, in the same packet, as a transaction, where every packet is one.

        An answer more follows theirs.
        """
        if not then:
            return []
        begun = [then[0]._replace(sql=b";".join((self.begin.sql, then[0].sql))), *then[1:]]
        return [*begun[:-1], begun[-1]._replace(sql=b";".join((begun[-1].sql, self.end)))]

    async def free(self, ids: Iterable[str]) -> set[str]:
        """Those of these instances that no other transaction holds."""
        if not self.engine.skips_locked:
            return await self.insist(partial(self._free_by_key, sorted(ids)))
        (answer,) = await self.ask(self.statement("free_instances", ids=comma(sorted(ids))))
        return {line[0].decode() for line in answer.rows}

    async def _free_by_key(self, ids: Sequence[str], wire: Wire) -> set[str]:
        wire.tainted = True
        await self.send(wire, [self.begin])
        rows = await self.lock_free(wire, ids)
        await self.roll_back(wire)
        return {line[0].decode() for line in rows}

    async def lock_free(self, wire: Wire, ids: Sequence[str | bytes]) -> list[tuple[Any, ...]]:
        """Lock those of these instances that no other transaction holds, by statements with NOWAIT."""
        found = await unheld(
            partial(self.send, wire), ids, lambda some: [self.statement("free_instances", ids=comma(some))]
        )
        return [line for _, answers in found for line in answers[0].rows]

    async def roll_back(self, wire: Wire) -> None:
        """End the transaction in any case. The connection is usable again if that succeeds."""
        wire.tainted = True
        packet = b"rollback" if self.end is _COMMIT else b"rollback; set autocommit = 1"
        try:
            await wire.run(packet, "rollback")
        except TransientError:  # another node's transaction has rolled it back, and the server says so once
            await wire.run(packet, "rollback")
        wire.tainted = False

    def keep_whole(self) -> None:
        """From here on, do not commit a transaction of which the server has lost the beginning."""
        self.begin, self.end = _BEGIN_WHOLE, _COMMIT_WHOLE

    async def _transaction(
        self, wire: Wire, statements: Sequence[Statement], then: Sequence[Statement]
    ) -> list[Answer] | None:
        wire.tainted = True
        try:
            answers = await self.carry_out(wire, [self.begin, *statements], last=self.end, then=then)
        except MismatchError:
            await self.roll_back(wire)
            return None
        except (TransientError, RefusedValueError, StorageConfigurationError, InternalError):
            await self.roll_back(wire)
            raise
        wire.tainted = False
        return answers

    def _packets(self, statements: Iterable[Statement]) -> list[tuple[bytes, str]]:
        """Statements joined to packets that the server accepts, each with a name for messages."""
        packets: list[tuple[bytes, str]] = []
        parts: list[bytes] = []
        size, name = 0, ""
        for statement in statements:
            if len(statement.sql) > self._max_packet - _MARGIN:
                raise RefusedValueError(statement.name)
            if parts and size + len(statement.sql) > _PACKET_BYTES:
                packets.append((b";".join(parts), name))
                parts, size, name = [], 0, ""
            parts.append(statement.sql)
            size += len(statement.sql)
            name = name or statement.name
        packets.append((b";".join(parts), name))
        return packets

    async def _measure_packets(self, wire: Wire) -> None:
        (answer,) = await wire.run(b"select @@max_allowed_packet, @@global.innodb_flush_log_at_trx_commit", "open")
        self._max_packet, flushes = (int(value) for value in answer.rows[0])
        check_durability(self.settings, flushes)
        if self._max_packet < _SMALLEST_PACKET:
            raise StorageConfigurationError(
                f"{self.settings.where}: the server's max_allowed_packet is {self._max_packet:,}; "
                f"set it to {2 * _SMALLEST_PACKET:,} or more, so that the largest commit fits"
            )

    async def look_for_cluster(self, wire: Wire) -> None:
        """Know a node of a cluster, and let it wait for the others from here on."""
        (answer,) = await wire.run(IS_NODE, "open")
        if answer.rows:
            self._be_node()
            self.settings = structs.replace(self.settings, cluster=True)
            wire.settings = structs.replace(wire.settings, cluster=True)
            await wire.setup()

    def _be_node(self) -> None:
        self.engine = as_node(self.engine)
        if self.dialect is not None:
            self.dialect = structs.replace(self.dialect, engine=self.engine)
        if self.engine.loses_begin:
            self.keep_whole()

    def _make_pools(self) -> None:
        size = self.settings.pool_size
        engine = max(1, min(_ENGINE_POOL, size // 2))
        self.work = self._pool(engine)
        self.heartbeats = self._pool(1, hurry=_HURRY)
        self.sessions = self._pool(max(1, size - engine - 1))
        self.waiting = self._pool(1, after_connecting=_SEE_UNCOMMITTED)

    def _connected_to_primary(self, settings: Settings) -> Coroutine[Any, Any, Wire]:
        async def connected_to(host: Host) -> Wire:
            wire = await connect(settings.at(host))
            try:
                await self._lineage.admit(wire)
            except BaseException:
                wire.abort()
                raise
            return wire

        return self._primary.connect(connected_to)

    def _pool(self, size: int, *, hurry: int = 1, after_connecting: Statement | None = None) -> Pool[Wire]:
        """A pool whose statements time out after a fraction of the usual time."""
        settings = structs.replace(
            self.settings,
            timeout=self.settings.timeout / hurry,
            connect_timeout=self.settings.connect_timeout / hurry,
        )

        async def connected() -> Wire:
            to = structs.replace(settings, cluster=True) if self.settings.cluster else settings
            wire = await (self._connected_to_primary(to) if to.hosts else connect(to))
            if after_connecting is not None:
                await self.send(wire, [after_connecting])
            return wire

        return Pool(
            settings.where,
            connected,
            HANDLING,
            size,
            patience=settings.pool_timeout,
            idle=settings.idle_timeout / 2,
        )


async def _taken(pool: Pool[Wire], *, written: bool) -> Wire:
    """Take a connection. `written`: if there is none, what was sent before may have been written."""
    try:
        return await pool.take()
    except StorageUnavailableError as error:
        error.maybe_written = written
        raise


def check_durability(settings: Settings, flushes: int) -> None:
    """Refuse a server that may lose acknowledged commits in a crash, unless the URL allows it."""
    if flushes != 1 and settings.durable:
        raise StorageConfigurationError(
            f"{settings.where}: innodb_flush_log_at_trx_commit is {flushes} on this server, so that a crash of its "
            "machine loses commits; set it to 1, or add durability=relaxed to the URL to live with it"
        )


@lru_cache(maxsize=64)
def _templates(database: str, prefix: str, engine: Engine) -> Mapping[str, Template]:
    """All named queries on the tables of a database, parsed once in a process."""
    qualified, found = qualifier(database, prefix), texts(prefix, engine)
    return MappingProxyType({name: Template(name, text, qualified) for name, text in found.items()})


def counted(statements: Sequence[Statement], check: bytes = PLAIN.check) -> list[Statement]:
    """Statements, each followed by one that adds up the rows touched, with a check of the sum after the last."""
    total = sum(statement.expected or 0 for statement in statements)
    left = sum(statement.expected is not None for statement in statements)
    script: list[Statement] = []
    so_far = b""
    for statement in statements:
        script.append(statement)
        if statement.expected is not None:
            left -= 1
            script.append(Statement("count", _COUNT % so_far if left else check % (so_far, total)))
            so_far = _SO_FAR
    return script


async def pause(attempt: int) -> None:
    """Wait for a random time that grows with each attempt."""
    await pauses.pause(attempt, _FIRST_PAUSE, _LONGEST_PAUSE)
