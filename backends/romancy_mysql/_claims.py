"""Claims: ownership of instances, and the mail of owned ones.

A worker with nothing to do costs one round trip and no lock. A claim first looks for due instances without locking;
only workflows with due instances are read again, with locks.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from romancy.errors import StorageUnavailableError
from romancy.storage.limits import SHORT_COMMIT_BYTES, SHORT_LOG_COMMITS
from romancy.storage.ranks import HIGHEST, rank
from romancy.storage.records import Work
from romancy.storage.sqlkit.claims import Box, Taken, chosen_mail, claimed, filled, unknown_and_kept
from romancy.storage.sqlkit.statements import ask
from romancy.storage.sqlkit.turns import choose_in_turn, earlier
from romancy_mysql._effects import CLOSED
from romancy_mysql._errors import ConnectionLostError, LockWaitError, MismatchError
from romancy_mysql._nowait import lock_some
from romancy_mysql._sql import Raw, Statement, comma, source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from romancy.storage.records import Claimed, ClaimRequest
    from romancy.storage.turns import Chosen
    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database
    from romancy_mysql._interpreter import MySQLInterpreter
    from romancy_mysql._protocol import Answer

__all__ = ["claim"]

Line = tuple[str, int]
"""A workflow and a priority: their instances wait in one line."""

_SLEEPER_GRACE = 5_000_000
_SWEPT_AT_ONCE = 500
_CANDIDATES = 3
"""How many times the wanted due instances are read without locks: others may lock the first ones meanwhile."""


async def claim(database: Database, interpreter: MySQLInterpreter, request: ClaimRequest) -> Work:
    """New instances for the worker, and the mail of all that it owns."""
    database.check_open()
    if request.sweep:
        await _sweep(database, request)
    alive, now, due, *boxes = await database.ask(
        database.statement("look_alive", worker=request.worker),
        database.statement("read_now"),
        _next_due(database, [(name, 0) for name in sorted(request.codes) or [""]], rungs=True),
        *([] if request.recover else [_mailboxes(database, request, ())]),
    )
    moment = int(now.rows[0][0])
    if not alive.rows:
        return Work(claimed=[], mail=[], now=moment)
    *waiting, (_, lowest, highest) = due.rows
    times = _times(waiting)
    turns = highest is not None and highest > HIGHEST
    others = [rung for rung in range(lowest or 0, min(highest or 0, HIGHEST) + 1) if rung]
    if others and request.codes:
        more = await database.ask(_next_due(database, [(name, rung) for name in request.codes for rung in others]))
        times |= _times(more[0].rows)
    lines = [line for line, wake_at in times.items() if wake_at <= moment] if request.limit > 0 else []
    found = _Found([], _boxes(boxes), times, moment)
    chosen: Chosen | None = None
    if turns and request.limit > 0:
        chosen = await interpreter.read(partial(choose_in_turn, request))
    if lines or request.recover or (chosen is not None and chosen.due):
        try:
            found = await database.insist(lambda wire: _Claim(database, wire, request, lines, found, chosen).made())
        except MismatchError:
            return Work(claimed=[], mail=[], now=moment)
    fresh = {one.instance_id for one in found.claimed}
    brought = chosen_mail(request, found.boxes, fresh)
    messages = (await interpreter.read(partial(ask, "mail", wanted=brought.wanted))).rows if brought.wanted else ()
    mail = filled(brought, messages, fresh)
    next_due = min(found.times.values(), default=None)
    if turns:
        next_due = earlier(found.now, next_due)
    work = Work(claimed=found.claimed, mail=mail, next_due=next_due, now=found.now, more=brought.more)
    if chosen is None:
        return work
    missed = not chosen.due.keys() <= fresh
    return replace(work, next_due=found.now if missed else next_due, turns={**request.turns, **chosen.turns})


class _Found(NamedTuple):
    """What a claim has found, but for the messages."""

    claimed: list[Claimed]
    boxes: list[Box]
    """The mail of instances that the worker owns. Without those that it owned, if it asks for everything again."""
    times: Mapping[Line, int]
    """When the next instance of each line is due."""
    now: int


class _Claim(NamedTuple):
    """A claim that has rows to lock."""

    database: Database
    wire: Wire
    request: ClaimRequest
    lines: list[Line]
    """Those with due instances."""
    before: _Found
    """What the first look has found."""
    chosen: Chosen | None = None
    """What is to be taken, while starts with fair keys wait: by their turns."""

    async def made(self) -> _Found:
        """Lock, take, and read the taken instances. `MismatchError` if the worker was declared dead in the meantime."""
        database, wire, request = self.database, self.wire, self.request
        wire.tainted = True
        skips = database.engine.skips_locked
        locking = self._looking(skips=skips)
        if request.recover:
            locking.append(database.statement("claim_owned", worker=request.worker))
        begin = [database.begin] if skips else []
        answers = (await database.send(wire, [*begin, *locking]))[-len(locking) :] if locking else []
        before = [line[0].decode() for line in answers.pop().rows] if request.recover else []
        due = self._in_order(row for answer in answers for row in answer.rows)
        if not skips and (ids := [one for _, one, _ in due] if self.chosen is None else self._chosen_ids()):
            due = self._in_order(await self._locked(ids))
        taken = {one.decode(): wake_at for _, one, wake_at in due[: request.limit]}
        try:
            answers = await self._take(list(taken), self._reading([*before, *taken]))
            wire.tainted = False
            return self._found(dict.fromkeys(before, 0) | taken, answers)
        except (MismatchError, LockWaitError):
            await database.roll_back(wire)
            raise
        except ConnectionLostError as error:
            # They may be the worker's now. It must get them by `recover`; a retry would hide them.
            raise StorageUnavailableError(str(error)) from None

    def _looking(self, *, skips: bool) -> list[Statement]:
        """What reads the due instances and, where the engine skips locked rows, locks them."""
        if self.chosen is None:
            each = self.request.limit if skips else self.request.limit * _CANDIDATES
            return [_due(self.database, self.request, line, each) for line in self.lines]
        ids = sorted(self._chosen_ids())
        return [self.database.statement("claim_chosen", ids=comma(ids))] if skips and ids else []

    def _chosen_ids(self) -> list[bytes]:
        return [] if self.chosen is None else [one.encode() for one in self.chosen.due]

    def _in_order(self, rows: Iterable[Sequence[Any]]) -> list[tuple[int, bytes, int]]:
        """Due instances in the order in which they are taken: place, id, and when each was due."""
        if self.chosen is None:
            return sorted((rank(int(wake_at), int(priority)), one, int(wake_at)) for one, wake_at, priority in rows)
        places = {one: place for place, one in enumerate(self._chosen_ids())}
        return sorted((places[one], one, int(wake_at)) for one, wake_at, _ in rows)

    async def _locked(self, ids: list[bytes]) -> list[tuple[Any, ...]]:
        """Begin a transaction, and lock as many of these instances as are wanted, but none that is held."""
        database, codes = self.database, self.request.codes
        names = codes if self.chosen is not None else dict(self.lines)
        fits = [database["claim_fits"].render(workflow_name=name, code=f"\n{codes[name]}\n") for name in names]
        fitting = Raw(b" or ".join(fits) or b"false")

        def locking(some: Sequence[bytes]) -> Statement:
            return database.statement("claim_locked", ids=comma(some), fits=fitting)

        send = partial(database.send, self.wire)
        return await lock_some(send, database.begin, ids, locking, self.request.limit)

    async def _take(self, ids: list[str], then: list[Statement]) -> list[Answer]:
        """Commit the change of owner, and return the answers to `then`."""
        if not ids:
            await self.database.roll_back(self.wire)
            return await self.database.send(self.wire, then)
        take = self.database.statement(
            "take_claimed", worker=self.request.worker, ids=comma(sorted(ids)), expected=len(ids)
        )
        return await self.database.carry_out(self.wire, [take], last=self.database.end, then=then)

    def _reading(self, ids: list[str]) -> list[Statement]:
        return [
            self.database.statement("read_claimed", ids=_ids(ids)),
            self.database.statement(
                "read_short_logs", ids=_ids(ids), bytes=SHORT_COMMIT_BYTES, commits=SHORT_LOG_COMMITS
            ),
            self.database.statement("read_now"),
            *([_mailboxes(self.database, self.request, ids)] if self.request.recover else []),
            *([_next_due(self.database, self.lines)] if self.lines else []),
        ]

    def _found(self, due: Mapping[str, int], answers: list[Answer]) -> _Found:
        taken, logs, now, *rest = answers
        bodies: dict[bytes, list[bytes]] = {}
        for instance_id, body in logs.rows:
            bodies.setdefault(instance_id, []).append(body)
        boxes = [rest.pop(0)] if self.request.recover else []
        times = {line: wake_at for line, wake_at in self.before.times.items() if line not in self.lines}
        for answer in rest:
            times |= _times(answer.rows)
        by_id = {line[0].decode(): line for line in taken.rows}
        return _Found(
            [_claimed(by_id[one], due[one], bodies.get(by_id[one][0], ())) for one in due if one in by_id],
            [*self.before.boxes, *_boxes([taken, *boxes])],
            times,
            int(now.rows[0][0]),
        )


def _times(rows: Iterable[Sequence[Any]]) -> dict[Line, int]:
    return {(name.decode(), int(rung)): wake_at for name, rung, wake_at in rows if wake_at is not None}


def _due(database: Database, request: ClaimRequest, line: Line, limit: int) -> Statement:
    name, rung = line
    return database.statement(
        "claim_due",
        workflow_name=name,
        rung=rung,
        code=f"\n{request.codes[name]}\n",
        leaves=bool(request.leave),
        leave=_ids(request.leave),
        grace=request.grace,
        limit=limit,
    )


def _next_due(database: Database, lines: Iterable[Line], *, rungs: bool = False) -> Statement:
    template = database["next_due"]
    parts = [template.render(workflow_name=name, rung=rung) for name, rung in lines]
    if rungs:
        parts.append(database["rungs"].render())
    return Statement(template.name, Raw(b" union all ".join(parts)))


def _mailboxes(database: Database, request: ClaimRequest, fresh: Collection[str]) -> Statement:
    unknown, kept = unknown_and_kept(request, fresh)
    case = database["kept_mail"]
    cases = b" ".join(case.render(instance_id=one, number=number) for one, number in (kept or {"": 0}).items())
    return database.statement("read_mailboxes", worker=request.worker, ids=_ids([*fresh, *unknown]), kept=Raw(cases))


def _ids(ids: Iterable[str]) -> Raw:
    """The inside of an IN list, which may not be empty: NULL equals nothing."""
    return comma(sorted(ids) or [None])


def _boxes(answers: Iterable[Answer]) -> list[Box]:
    return [Box(line[0].decode(), line[1], line[2], int(line[3])) for answer in answers for line in answer.rows]


def _claimed(line: tuple[Any, ...], due: int, log: Sequence[bytes]) -> Claimed:
    columns: list[Any] = [one.decode() if isinstance(one, bytes) else one for one in line]
    instance_id, life, signals, _, name, status, code, run_from, head, seen, crashes, crash_seq, writer = columns
    taken = Taken(instance_id, life, name, status, code, run_from, head, writer, signals, seen, crashes, crash_seq)
    return claimed(taken, due, log)


async def _sweep(database: Database, request: ClaimRequest) -> None:
    """Repair instances left asleep or stranded, and offer stuck instances to this worker's code."""
    alive, uncounted, *asleep = await database.ask(
        database.statement("look_alive", worker=request.worker),
        database.statement("find_uncounted", age=_SLEEPER_GRACE, closed=CLOSED, limit=_SWEPT_AT_ONCE),
        database.statement("find_stranded", limit=_SWEPT_AT_ONCE),
        *(
            database.statement("find_parked", workflow_name=name, code=f"\n{code}\n", limit=_SWEPT_AT_ONCE)
            for name, code in request.codes.items()
        ),
    )
    if not alive.rows:
        return
    wanted = {line[0] for answer in asleep for line in answer.rows}
    mail: dict[bytes, list[bytes]] = {}
    orphans: list[tuple[bytes, bytes]] = []
    for instance_id, delivery_id, is_open in uncounted.rows:
        if is_open:
            mail.setdefault(instance_id, []).append(delivery_id)
        else:
            orphans.append((instance_id, delivery_id))
    if orphans:
        await database.ask(_drop(database, orphans))
    if mail:
        await database.insist(lambda wire: _count_mail(database, wire, mail))
    if wanted:
        await database.insist(lambda wire: _offer(database, wire, wanted))


async def _count_mail(database: Database, wire: Wire, mail: dict[bytes, list[bytes]]) -> None:
    free = await _free(database, wire, mail)
    if free:
        counted = [(one, delivery) for one in free for delivery in mail[one]]
        count = database.statement("count_mail", ids=comma(free), closed=CLOSED)
        await _end(database, wire, [count, _drop(database, counted)])


async def _offer(database: Database, wire: Wire, asleep: set[bytes]) -> None:
    free = await _free(database, wire, asleep)
    if free:
        await _end(database, wire, [database.statement("offer_asleep", ids=comma(free))])


async def _free(database: Database, wire: Wire, ids: Iterable[bytes]) -> list[bytes]:
    """Begin a transaction and lock the free instances; a later sweep gets the others. If none is free, roll it back."""
    wire.tainted = True
    if database.engine.skips_locked:
        look = database.statement("free_instances", ids=comma(sorted(ids)))
        rows = list((await database.send(wire, [database.begin, look]))[-1].rows)
    else:
        await database.send(wire, [database.begin])
        rows = await database.lock_free(wire, sorted(ids))
    if not rows:
        await database.roll_back(wire)
    return [line[0] for line in rows]


async def _end(database: Database, wire: Wire, statements: list[Statement]) -> None:
    await database.send(wire, [*statements, Statement("commit", database.end)])
    wire.tainted = False


def _drop(database: Database, mail: list[tuple[bytes, bytes]]) -> Statement:
    return database["drop_uncounted"].statement(source(("instance_id", "delivery_id"), sorted(mail)))
