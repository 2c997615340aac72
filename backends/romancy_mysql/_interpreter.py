"""Carries out operations: the scripts of a request go to the server in one packet.

UPDATE and DELETE return no rows, and a statement locks what its subqueries read, so several scripts are operations.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from romancy.storage.outbox import OutboxState
from romancy.storage.query import path_key
from romancy.storage.ranks import HIGHEST, LOWEST
from romancy.storage.sqlkit import outbox
from romancy.storage.sqlkit.statements import (
    ROUNDS,
    Answer,
    Ask,
    LockedError,
    OvertakenError,
    Running,
    ask,
    ask_all,
    ask_last,
)
from romancy_mysql import _prune, _rebuilding, _routing
from romancy_mysql._apart import free_apart
from romancy_mysql._database import counted, pause
from romancy_mysql._effects import CLOSED
from romancy_mysql._errors import LockWaitError, MismatchError, TransientError
from romancy_mysql._nowait import unheld
from romancy_mysql._sql import Raw, Statement, comma, literal, source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from romancy.storage.sqlkit.pool import Pool
    from romancy.storage.sqlkit.statements import Operation, Own, Request, Values
    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database
    from romancy_mysql._protocol import Answer as Received
    from romancy_mysql._sql import Value
    from romancy_mysql.engines import Engine

__all__ = ["MySQLInterpreter"]

T = TypeVar("T")

_BYTES = frozenset({"body", "input", "where_", "projection"})
"""Columns of bytes. All others are texts or numbers."""
_FAIR = 100
"""How much higher a rung in the lines of fair keys is than the priority: as in the schema."""
_BEHIND_NONE = "\x01"
_LISTS = "codes"
"""The column that holds a list, as lines."""


class MySQLInterpreter:
    """As `Interpreter` promises.

    A cancelled call discards its connection, and the server undoes the transaction. What `in_turn` has committed stays.
    `tell` reports changes. Its connections are those of `pool`; without one, those of the engine's work.
    """

    def __init__(
        self, database: Database, tell: Callable[[Iterable[str]], None], pool: Callable[[], Pool[Wire]] | None = None
    ) -> None:
        self._database = database
        self._pool = pool or (lambda: database.work)
        self._tell = tell

    async def read(self, begin: Callable[[], Operation[T]], /) -> T:
        return await self.in_turn(begin)

    async def in_turn(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,  # noqa: ARG002 - of a file
        lock_waits: int | None = None,
    ) -> T:
        fail_if_held = self._database.engine.fail_if_held
        with closing(Running(begin(), self._own)) as running:
            while (request := running.request) is not None:
                asks = (*request.asks, *request.then)
                if fail_if_held and asks and asks[0].script in fail_if_held:
                    running.answer(await self._insist(partial(self._look_for_free, asks), lock_waits))
                    continue
                statements = [self._statement(one) for one in asks]
                received = await self._insist(self._sending(statements), lock_waits)
                running.answer(self._answers(asks, received))
            self._tell(running.news)
            return running.result

    async def together(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,  # noqa: ARG002 - of a file
        lock_waits: int | None = None,
        lasting: bool = True,  # noqa: ARG002 - every commit is
        keys: Sequence[int] = (),  # noqa: ARG002 - rows are locked
    ) -> T:
        for attempt in range(ROUNDS):
            try:
                return await self._insist(partial(self._transaction, begin), lock_waits)
            except MismatchError:
                await pause(attempt)
        raise OvertakenError(f"{self._database.settings.where}: rows kept changing; try again")

    @property
    def _own(self) -> Own:
        return _own_of(self._database.engine)

    def _sending(self, statements: list[Statement]) -> Callable[[Wire], Awaitable[list[Received]]]:
        return lambda wire: self._database.send(wire, statements)

    async def _insist(self, work: Callable[[Wire], Awaitable[T]], lock_waits: int | None) -> T:
        insist = partial(self._database.insist, work, pool=self._pool())
        if lock_waits is None:
            return await insist()
        try:
            # The database counts waits, not further tries.
            return await insist(lock_waits=lock_waits + 1 if lock_waits else 0)
        except LockWaitError:
            raise LockedError(f"{self._database.settings.where}: rows are locked by another transaction") from None

    async def _transaction(self, begin: Callable[[], Operation[T]], wire: Wire) -> T:
        database = self._database
        with closing(Running(begin(), self._own)) as running:
            wire.tainted = True
            first, fail_if_held = [database.begin], database.engine.fail_if_held
            try:
                while (request := running.request) is not None and not request.last:
                    if fail_if_held and request.asks and request.asks[0].script in fail_if_held:
                        running.answer(await self._free(wire, first, request.asks))
                        first = []
                        continue
                    packet = counted([self._statement(one) for one in request.asks], database.check)
                    received = await database.send(wire, packet if request.early else [*first, *packet])
                    running.answer(self._answers(request.asks, received[len(received) - len(packet) :]))
                    first = first if request.early else []
                answers = await self._end(wire, first, request)
            except (MismatchError, TransientError):
                await database.roll_back(wire)
                raise
            wire.tainted = False
            if request is not None:
                running.answer(answers)
            self._tell(running.news)
            return running.result

    async def _end(self, wire: Wire, first: list[Statement], request: Request | None) -> list[Answer]:
        """Send the last scripts, the commit, and what comes after it."""
        asks, then = (request.asks, request.then) if request is not None else ((), ())
        if first and not asks:  # it has not begun
            return self._answers(then, await self._database.send(wire, [*map(self._statement, then)]) if then else [])
        packet = counted([self._statement(one) for one in asks], self._database.check)
        later = [*map(self._statement, then)]
        if self._database.engine.wraps:
            later = self._database.after(later)
        received = await self._database.send(wire, [*first, *packet, Statement("commit", self._database.end), *later])
        before = sum(_count(one.sql) for one in first)
        given = self._answers(asks, received[before : before + len(packet)])
        beyond = 1 if self._database.engine.wraps and then else 0
        return given + self._answers(then, received[len(received) - len(then) - beyond :])

    async def _look_for_free(self, asks: Sequence[Ask], wire: Wire) -> list[Answer]:
        """What nobody else holds now, if these scripts fail for what is held."""
        wire.tainted = True
        answers = await self._free(wire, [self._database.begin], asks)
        await self._database.roll_back(wire)
        return answers

    async def _free(self, wire: Wire, first: list[Statement], asks: Sequence[Ask]) -> list[Answer]:
        """Lock what nobody else holds: of many asks, or of the ids that one names. What is held, is left out.

        An ask that is left out is answered as if it had found a row.
        """
        send = partial(self._database.send, wire)
        if first:
            await send(first)
        if len(asks) == 1 and "ids" in asks[0].values:
            (one,) = asks
            ids: list[str] = one.values["ids"]
            parts = await unheld(
                send, ids, lambda some: [self._statement(Ask(one.script, {**one.values, "ids": [*some]}))]
            )
            found = [self._answers(asks, answers)[0] for _, answers in parts]
            rows = [row for answer in found for row in answer.rows]
            return [Answer(rows, len(rows))]
        free = await unheld(send, asks, lambda some: [self._statement(one) for one in some])
        known = {
            id(one): answer
            for part, answers in free
            for one, answer in zip(part, self._answers(part, answers), strict=True)
        }
        return [known.get(id(one), Answer([(None,)], 1)) for one in asks]

    def _statement(self, ask: Ask) -> Statement:
        if ask.composed is not None:
            return Statement(ask.script, ask.composed.text)
        values: dict[str, Value] = {"closed": CLOSED}  # every script may name the statuses of what has ended
        for name, columns in self._database.heads[ask.script].parameters.items():
            value: Any = ask.values[name]
            if columns:
                values |= source(columns, value)
            else:
                # An IN list is never empty, and no id is.
                values[name] = comma(cast("list[Value]", value) or [""]) if isinstance(value, list) else value
        return self._database[ask.script].statement(values, expected=ask.expected)

    def _answers(self, asks: Sequence[Ask], received: Sequence[Received]) -> list[Answer]:
        """The answers to these, without those to the statements that count rows."""
        answers, place = list[Answer](), 0
        for one in asks:
            columns = self._database.heads[one.script].columns if one.composed is None else one.composed.columns
            answers.append(_answer(columns, received[place]))
            place += 1 if one.expected is None else 2
        return answers


def _count(sql: bytes) -> int:
    """How many statements this text of the adapter has."""
    return sql.count(b";") + 1


def _answer(columns: tuple[str, ...], received: Received) -> Answer:
    texts = [place for place, name in enumerate(columns) if name not in _BYTES]
    rows = [list(line) for line in received.rows]
    for row in rows:
        for place in texts:
            if isinstance(row[place], bytes):
                row[place] = row[place].decode()
            if columns[place] == _LISTS:
                row[place] = row[place].split("\n") if row[place] else []
    return Answer(rows, received.affected)


# ── scripts that are operations here ────────────────────────────────────────────────────────────────────────────────


def _sweep_outbox(_: Values) -> Operation[Answer]:
    parked = yield from ask("outbox_parked", limit=outbox.IDS_AT_ONCE)
    return (yield from _unpark(parked))


def _promote(values: Values) -> Operation[Answer]:
    heads = yield from ask("outbox_next", keys=[(key,) for key in values["keys"]])
    return (yield from _unpark(heads))


def _unpark(found: Answer) -> Operation[Answer]:
    ids = sorted(row[0] for row in found.rows if row[0] is not None)
    return (yield from ask("outbox_unpark", ids=ids)) if ids else Answer((), 0)


def _counts(values: Values) -> Operation[Answer]:
    most = values["most"]
    ended = [Ask("outbox_ended", {"state": state, "most": most}) for state in values["states"]]
    pending, *others = yield from ask_all(Ask("outbox_pending", {"most": most}), *ended)
    ((now, count, oldest),) = pending.rows
    rows = [(now, OutboxState.PENDING, count, oldest)]
    rows += [(0, state, one.rows[0][0], None) for state, one in zip(values["states"], others, strict=True)]
    return Answer(rows, len(rows))


def _loads(values: Values) -> Operation[Answer]:
    workers = values["workers"]
    counts = yield from ask_all(*(Ask("load", {"worker": one, "most": values["most"]}) for one in workers))
    return Answer([(one, *count.rows[0]) for one, count in zip(workers, counts, strict=True)], len(workers))


def _undeclared(values: Values) -> Operation[Answer]:
    """The sets of paths are stored as they were declared."""
    sets = (yield from ask("index_sets")).rows
    lacking = {
        name for name, _, paths in sets if values["path"] not in [path_key(one) for one in paths.split("\n") if one]
    }
    return Answer([(name,) for name in lacking], len(lacking))


def _beat(values: Values) -> Operation[Answer]:
    """Whoever waits for the first beat of another worker reads it from the table (`Wakeups`)."""
    about = {**values, "codes": "\n".join(values["codes"])}
    register = () if values["registered"] else (Ask("register", about),)
    yield from ask_all(*register, Ask("beat_again", about))
    return Answer((), 1)


def _declare_dead(values: Values) -> Operation[Answer]:
    """A row that is set to what it was does not count as touched."""
    _, marked = yield from ask_all(Ask("mark_dead", values), Ask("marked_dead", values))
    return Answer((), len(marked.rows))


def _free(values: Values) -> Operation[Answer]:
    """Write the entries first: a log that has grown since it was read refuses its entry, and so the whole chunk."""
    owned = (yield from ask("read_owned", **values)).rows
    if owned:
        some, count = {**values, "owned": owned}, len(owned)
        yield from ask_last(Ask("log_takeover", some, count), Ask("free_from_dead", some, count))
    return Answer([row[:1] for row in owned], len(owned))


def _mail(values: Values) -> Operation[Answer]:
    """The condition has constants only, so that the mail of each inbox is one range of an index."""
    whole = [one for one, after in values["wanted"] if not after]
    parts = [b"instance_id in (%b)" % comma(sorted(whole))] if whole else []
    parts += [b"instance_id = %b and number > %d" % (literal(one), after) for one, after in values["wanted"] if after]
    return (yield from ask("read_mail", wanted=Raw(b" or ".join(parts))))


def _streams(values: Values) -> Operation[Answer]:
    """As in `_mail`, each place is one range of an index. Lines are read no sooner than the logs."""
    places, most = values["places"], values["limit"]
    ranges = (
        b"instance_id = %b and life = %d and number > %d" % (literal(one), life, number) for one, life, number in places
    )
    logs, lines = yield from ask_all(
        Ask("stream_logs", {"ids": sorted({one for one, _, _ in places})}),
        Ask("stream_lines", {"wanted": Raw(b" or ".join(ranges)), "limit": most}),
    )
    written = defaultdict[tuple[str, int], list[tuple[Any, ...]]](list)
    for one, life, *line in lines.rows:
        written[one, life].append(tuple(line))
    cut = lines.rows[-1][0] if len(lines.rows) >= most else None
    rows = [
        (one, life, last, *line)
        for one, life, last in sorted(map(tuple, logs.rows))
        if cut is None or one <= cut
        for line in written[one, life] or [(None,) * 4]
    ]
    return Answer(rows, len(rows))


def _turn_priorities(_: Values) -> Operation[Answer]:
    rungs = [one + above for above in (0, _FAIR) for one in range(LOWEST, HIGHEST + 1)]
    found = yield from ask_all(*(Ask("at_rung", {"rung": rung}) for rung in rungs))
    priorities = {rung - _FAIR * (rung > HIGHEST) for rung, answer in zip(rungs, found, strict=True) if answer.rows}
    return Answer([(one,) for one in sorted(priorities)], len(priorities))


def _turn_of_keys(values: Values) -> Operation[Answer]:
    return (yield from _turns(values, values["priority"] + _FAIR, values["low"], values["below"]))


def _turn_of_none(values: Values) -> Operation[Answer]:
    return (yield from _turns(values, values["priority"], "", _BEHIND_NONE))


def _turns(values: Values, rung: int, low: str, below: str) -> Operation[Answer]:
    """Workflow by workflow: one statement over all would read whole indexes."""
    about = {**values, "rung": rung, "low": low, "below": below, "leaves": bool(values["leave"])}
    asks = [Ask("turn_of", {**about, "workflow_name": name, "code": f"\n{code}\n"}) for name, code in values["known"]]
    found = yield from ask_all(*asks)
    rows = [row for answer in found for row in answer.rows]
    return Answer(rows, len(rows))


_OWN: Own = {
    **outbox.IN_PARTS,
    **_prune.OWN,
    **_rebuilding.OWN,
    **_routing.OWN,
    "beat": _beat,
    "mail": _mail,
    "streams_behind": _streams,
    "declare_dead": _declare_dead,
    "free": _free,
    "free_apart": free_apart,
    "outbox_sweep": _sweep_outbox,
    "outbox_promote": _promote,
    "outbox_counts": _counts,
    "loads": _loads,
    "undeclared": _undeclared,
    "turn_priorities": _turn_priorities,
    "turn_of_keys": _turn_of_keys,
    "turn_of_none": _turn_of_none,
}


@cache
def _own_of(engine: Engine) -> Own:
    return {**_OWN, **engine.operations}
