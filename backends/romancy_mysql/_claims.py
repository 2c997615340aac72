"""Claims: ownership of instances, and the mail of owned ones.

A worker with nothing to do costs one round trip and no lock. A claim first looks for due instances without locking;
only workflows with due instances are read again, with locks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from romancy.errors import StorageUnavailableError
from romancy.status import Status
from romancy.storage.limits import SHORT_COMMIT_BYTES, SHORT_LOG_COMMITS
from romancy.storage.lookups import MOST_BYTES, Lying, last_of
from romancy.storage.mail import Waiting, choose_mail, left_out
from romancy.storage.records import Claimed, InboxRow, Mailbox, Work
from romancy_mysql._effects import CLOSED
from romancy_mysql._errors import ConnectionLostError, LockWaitError, MismatchError
from romancy_mysql._sql import Raw, Statement, comma, literal, source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from romancy.storage.records import ClaimRequest
    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database
    from romancy_mysql._protocol import Answer

__all__ = ["claim", "lying"]

_SLEEPER_GRACE = 5_000_000
_SWEPT_AT_ONCE = 500


class _Box(NamedTuple):
    """The size and counters of an instance's mail, known before it is read."""

    life: int
    signals: int
    size: int


async def claim(database: Database, request: ClaimRequest) -> Work:
    """New instances for the worker, and the mail of all that it owns."""
    database.check_open()
    if request.sweep:
        await _sweep(database, request)
    alive, now, due, *boxes = await database.ask(
        database.statement("look_alive", worker=request.worker),
        database.statement("read_now"),
        _next_due(database, request.codes),
        *([] if request.recover else [_mailboxes(database, request, ())]),
    )
    moment = int(now.rows[0][0])
    if not alive.rows:
        return Work(claimed=[], mail=[], now=moment)
    times = {name.decode(): wake_at for name, wake_at in due.rows if wake_at is not None}
    names = [name for name, wake_at in times.items() if wake_at <= moment] if request.limit > 0 else []
    owned = _by_id(boxes)
    if not names and not request.recover:
        mail, more = await _mail(database, database.ask, request, owned, ())
        return Work(claimed=[], mail=mail, next_due=min(times.values(), default=None), now=moment, more=more)
    try:
        return await database.insist(lambda wire: _Claim(database, wire, request, names, times, owned).made())
    except MismatchError:
        return Work(claimed=[], mail=[], now=moment)


class _Claim(NamedTuple):
    """A claim that has rows to lock."""

    database: Database
    wire: Wire
    request: ClaimRequest
    names: list[str]
    """The workflows with due instances."""
    times: Mapping[str, int]
    """When the next instance of each workflow is due, from the first look."""
    owned: Mapping[str, _Box]
    """The mail of instances that the worker already owned. Empty if it asks for everything again."""

    async def made(self) -> Work:
        """Lock, take, and read the taken instances. `MismatchError` if the worker was declared dead in the meantime."""
        database, wire, request = self.database, self.wire, self.request
        wire.tainted = True
        locking = [_due(database, request, name) for name in self.names]
        if request.recover:
            locking.append(database.statement("claim_owned", worker=request.worker))
        answers = (await database.send(wire, [database.begin, *locking]))[-len(locking) :]
        before = [line[0].decode() for line in answers.pop().rows] if request.recover else []
        due = sorted((int(wake_at), one) for answer in answers for one, wake_at in answer.rows)
        taken = {one.decode(): wake_at for wake_at, one in due[: request.limit]}
        try:
            answers = await self._take(list(taken), self._reading([*before, *taken]))
            wire.tainted = False
            return await self._work(dict.fromkeys(before, 0) | taken, answers)
        except (MismatchError, LockWaitError):
            await database.roll_back(wire)
            raise
        except ConnectionLostError as error:
            # They may be the worker's now. It must get them by `recover`; a retry would hide them.
            raise StorageUnavailableError(str(error)) from None

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
            *([_next_due(self.database, self.names)] if self.names else []),
        ]

    async def _work(self, due: Mapping[str, int], answers: list[Answer]) -> Work:
        claimed, logs, now, *rest = answers
        bodies: dict[bytes, list[bytes]] = {}
        for instance_id, body in logs.rows:
            bodies.setdefault(instance_id, []).append(body)
        boxes = [rest.pop(0)] if self.request.recover else []
        known = {**self.owned, **_by_id([claimed, *boxes])}
        mail, more = await _mail(self.database, self._ask, self.request, known, due)
        by_id = {line[0].decode(): line for line in claimed.rows}
        times = [wake_at for name, wake_at in self.times.items() if name not in self.names]
        times += [wake_at for answer in rest for _, wake_at in answer.rows if wake_at is not None]
        return Work(
            claimed=[_claimed(by_id[one], bodies.get(by_id[one][0], ()), due[one]) for one in due if one in by_id],
            mail=mail,
            next_due=min(times, default=None),
            now=int(now.rows[0][0]),
            more=more,
        )

    async def _ask(self, wanted: Statement) -> list[Answer]:
        return await self.database.send(self.wire, [wanted])


def _due(database: Database, request: ClaimRequest, name: str) -> Statement:
    return database.statement(
        "claim_due",
        workflow_name=name,
        code=f"\n{request.codes[name]}\n",
        leaves=bool(request.leave),
        leave=_ids(request.leave),
        grace=request.grace,
        limit=request.limit,
    )


def _next_due(database: Database, names: Iterable[str]) -> Statement:
    template = database["next_due"]
    parts = [template.render(workflow_name=name) for name in sorted(names) or [""]]
    return Statement(template.name, Raw(b" union all ".join(parts)))


def _mailboxes(database: Database, request: ClaimRequest, fresh: Iterable[str]) -> Statement:
    unknown = {*fresh, *(instance_id for instance_id, signals in request.known.items() if signals < 0)}
    kept = {one: number for one, number in request.kept.items() if one not in unknown} or {"": 0}
    cases = b" ".join(
        b"when %b then if(%d > i.signals, 0, %d)" % (literal(one), number, number) for one, number in kept.items()
    )
    return database.statement("read_mailboxes", worker=request.worker, ids=_ids(unknown), kept=Raw(cases))


async def _mail(
    database: Database,
    read: Callable[[Statement], Awaitable[list[Answer]]],
    request: ClaimRequest,
    boxes: Mapping[str, _Box],
    ids: Iterable[str],
) -> tuple[list[Mailbox], bool]:
    """Mailboxes within bounds, and whether there are more. Empty ones of instances just claimed are left out."""
    fresh = set(ids)
    waiting = [Waiting(one, box.signals, box.size, one in fresh) for one, box in boxes.items()]
    chosen, more = choose_mail(waiting, request)
    mail = {one: _mailbox(request, one, boxes[one], fresh=one in fresh) for one in chosen}
    if any(boxes[one].size for one in chosen):
        (answer,) = await read(database.statement("read_mail", wanted=_lying(mail.values())))
        for instance_id, *line in answer.rows:
            mail[instance_id.decode()].rows.append(_inbox_row(*line))
    return [box for box in mail.values() if box.rows or box.instance_id not in fresh], more


async def lying(database: Database, instance_id: str | None, after: tuple[str, str], limit: int) -> list[Lying]:
    """As `Lookups.lying` promises."""
    place, delivery = after
    last = last_of(instance_id)
    (answer,) = await database.ask(
        database.statement("lying", instance_id=place, delivery_id=delivery, last=last, limit=limit, bytes=MOST_BYTES)
    )
    return [Lying(bytes(row[0]).decode(), _inbox_row(*row[1:])) for row in answer.rows]


def _lying(boxes: Iterable[Mailbox]) -> Raw:
    """The condition on the messages to read. It has constants only, so that each box is one range of an index."""
    whole = [box.instance_id for box in boxes if not box.after]
    parts = [b"instance_id in (%b)" % comma(sorted(whole))] if whole else []
    parts += [b"instance_id = %b and number > %d" % (literal(box.instance_id), box.after) for box in boxes if box.after]
    return Raw(b" or ".join(parts))


def _mailbox(request: ClaimRequest, instance_id: str, box: _Box, *, fresh: bool) -> Mailbox:
    """The empty mailbox of an instance."""
    after = left_out(request, instance_id, box.signals, fresh=fresh)
    return Mailbox(instance_id=instance_id, life=box.life, signals=box.signals, rows=[], after=after)


def _ids(ids: Iterable[str]) -> Raw:
    """The inside of an IN list, which may not be empty: NULL equals nothing."""
    return comma(sorted(ids) or [None])


def _by_id(boxes: Iterable[Answer]) -> dict[str, _Box]:
    return {line[0].decode(): _Box(line[1], line[2], int(line[3])) for answer in boxes for line in answer.rows}


def _claimed(line: tuple[Any, ...], log: Sequence[bytes], due: int) -> Claimed:
    instance_id, life, signals, _, name, status, code, run_from, head, seen, crashes, crash_seq, writer = line
    return Claimed(
        instance_id=instance_id.decode(),
        life=life,
        workflow_name=name.decode(),
        status=Status(status.decode()),
        code=code.decode(),
        run_from=run_from,
        head=head or 0,
        head_writer=None if writer is None else writer.decode(),
        signals=signals,
        seen=seen,
        crashes=crashes if crash_seq == head else 0,
        due=due,
        log=tuple(log) if len(log) == (head or 0) - run_from + 1 else (),
    )


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
    look = database.statement("free_instances", ids=comma(sorted(ids)))
    *_, answer = await database.send(wire, [database.begin, look])
    if not answer.rows:
        await database.roll_back(wire)
    return [line[0] for line in answer.rows]


async def _end(database: Database, wire: Wire, statements: list[Statement]) -> None:
    await database.send(wire, [*statements, Statement("commit", database.end)])
    wire.tainted = False


def _drop(database: Database, mail: list[tuple[bytes, bytes]]) -> Statement:
    return database["drop_uncounted"].statement(source(("instance_id", "delivery_id"), sorted(mail)))


def _inbox_row(delivery_id: bytes, body: bytes, at: int, address: bytes | None, interest: bytes | None) -> InboxRow:
    if address is None:
        return InboxRow(delivery_id.decode(), body, at)
    return InboxRow(delivery_id.decode(), body, at, address.decode(), None if interest is None else interest.decode())
