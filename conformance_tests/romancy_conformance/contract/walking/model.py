"""The model: the contract of a store as plain Python that does one thing after the other.

This module is the part about instances, their logs, their owners and workers. `messages` and `outbox` have the others.
Where the contract leaves a choice (which of several that fell due together, which of too many to remove), the model
reads the store's answer from `State.given` and makes the same choice if it is a permitted one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.status import Status
from romancy.storage.ranks import rank
from romancy.storage.records import (
    Append,
    Census,
    Claimed,
    History,
    InboxRow,
    LogRow,
    Mailbox,
    Outcome,
    Peer,
    Pulse,
    Step,
    Takeover,
    Work,
)
from romancy.storage.routing import Owner
from romancy.storage.turns import InLine, choose
from romancy_conformance.contract.walking.messages import RouterModel
from romancy_conformance.contract.walking.outbox import OutboxModel
from romancy_conformance.contract.walking.state import Beating, Instance, State

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from romancy.storage.records import (
        Change,
        ClaimRequest,
        Create,
        Delivered,
        Delivery,
        Item,
        OutboxRow,
        PruneRequest,
        Worker,
    )
    from romancy.storage.turns import Chosen, Look
    from romancy_conformance.contract.walking.state import Turns

__all__ = ["Model"]

SECOND = 1_000_000
_AT_WORK = (Status.RUNNING, Status.CANCELLING, Status.COMPENSATING)


class Model:
    """`Store`, one call at a time."""

    def __init__(self, *, sessions_exclude: bool = False) -> None:
        self.state = State(sessions_exclude=sessions_exclude)
        self.router = RouterModel(self.state)
        self.outbox = OutboxModel(self.state)
        self.reading = self

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────

    def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        return [self._write(item, worker) for item in batch]

    def _write(self, item: Item, worker: str | None) -> Outcome:
        if isinstance(item, Step):
            return self._fence(item, worker) or self._step(item)
        if item.create is not None:
            return self._bars(item, item.create) or self._append(item)
        return self._fence(item, worker) or self._append(item)

    def _bars(self, item: Append, create: Create) -> Outcome | None:
        """What is in the way of a first append. ACCEPTED: it is there already."""
        held, former = self.state.instances.get(item.instance_id), create.replaces
        if held is not None and held.life == item.life and 1 in held.log and held.log[1].writer == item.writer:
            return Outcome.ACCEPTED
        if former is None and held is not None:
            return Outcome.EXISTS
        if former is not None and not (
            held is not None and held.ended and (held.life, held.status in former.statuses) == (former.life, True)
        ):
            return Outcome.EXISTS
        return Outcome.DEAD if create.owner is not None and not self.state.alive(create.owner) else None

    def _create(self, item: Append, create: Create) -> None:
        state, change = self.state, item.change
        if create.replaces is not None:
            self.router.remove(item.instance_id)
        made = state.instances[item.instance_id] = Instance(
            instance_id=item.instance_id, life=item.life, workflow_name=create.workflow_name, status=Status.PENDING,
            code=create.code, created_at=state.now, updated_at=state.now, input=create.input, owner=create.owner,
            wake_at=self._first_due(create),
            error=None, parent=create.parent, index=create.index, priority=create.priority,
            fair_line=create.fair_line,
            log={1: LogRow(1, item.writer, item.body, state.now)},
        )  # fmt: skip
        if change is not None:
            made.status, made.error = change.status, change.error
            made.wake_at = change.wake_at if change.release and not made.rests else None

    def _first_due(self, create: Create) -> int | None:
        """When an instance is due whose code was not run."""
        if create.owner is not None or create.delay is None:
            return None
        return max(create.at or 0, self.state.now + create.delay)

    def _log(self, item: Step | Append) -> dict[int, LogRow]:
        found = self.state.instances.get(item.instance_id)
        return found.log if found is not None and found.life == item.life else {}

    def _fence(self, item: Step | Append, worker: str | None) -> Outcome | None:
        """The order in which a row is refused: by its place, its writer, the row before. Its effects come after."""
        log = self._log(item)
        if item.seq in log:
            return Outcome.ACCEPTED if log[item.seq].writer == item.writer else Outcome.TAKEN
        if not self.state.alive(worker):
            return Outcome.DEAD
        if item.behind is not None and (item.seq - 1 not in log or log[item.seq - 1].writer != item.behind):
            return Outcome.LOST if item.behind else Outcome.ENDED
        return None

    def _step(self, item: Step | Append) -> Outcome:
        self._log(item)[item.seq] = LogRow(item.seq, item.writer, item.body, self.state.now)
        return Outcome.ACCEPTED

    def _append(self, item: Append) -> Outcome:
        state = self.state
        found = state.instances.get(item.instance_id)
        children = [(start, start.create) for start in item.starts if start.create is not None]
        if any(self._bars(*child) not in (None, Outcome.ACCEPTED) for child in children):
            return Outcome.EXISTS
        if item.change is not None and item.create is None and (refusal := self._refusal(found, item, item.change)):
            return refusal
        if not set(item.consumed) <= set(state.inbox.get(item.instance_id, {})):
            return Outcome.GONE
        if item.create is not None:
            self._create(item, item.create)
        else:
            self._step(item)
        for child in children:
            if self._bars(*child) is None:
                self._create(*child)
        if item.create is None and found is not None and item.change is not None:
            self._change(found, item, item.change)
        self._send(item)
        return Outcome.ACCEPTED

    def _refusal(self, found: Instance | None, item: Append, change: Change) -> Outcome | None:
        if found is None or found.life != item.life:
            return Outcome.GONE
        if found.ended and not change.reopens:
            return Outcome.ENDED
        if _ends(change) and found.signals != change.seen:
            return Outcome.UNSEEN
        if change.unowned and found.owner is not None:
            return Outcome.OWNED
        return None

    def _change(self, found: Instance, item: Append, change: Change) -> None:
        found.status, found.seen, found.error = change.status, change.seen, change.error
        found.updated_at, found.last_seq = self.state.now, item.seq
        found.code = change.code or found.code
        found.refused = frozenset() if change.forgive else found.refused
        found.refused |= {change.refused_by} - {None}  # type: ignore[operator]  # None is taken out
        found.wake_at = None
        if change.release and not found.rests:
            found.wake_at = change.wake_at if found.signals == change.seen else self.state.now
        if change.release or found.rests:
            found.owner = None
        if change.run_from is not None:
            found.run_from = change.run_from
            found.input = found.input if change.input is None else change.input
            found.index = found.index if change.index is None else change.index

    def _send(self, item: Append) -> None:
        """What an accepted append consumes and sends, in this order. A message that cannot be delivered is left out."""
        for one in set(item.consumed):
            del self.state.inbox[item.instance_id][one]
        self.outbox.queue(item.outbox)
        self.router.deliver(item.deliveries)
        owner = Owner(item.instance_id, item.life)
        for interest in item.interests:
            self.router.want(owner, interest)
        self.router.unregister(owner, item.uninterested)
        for posting in item.postings:
            self.router.put(posting)

    def session(self, item: Item, worker: str | None, *, leaves: bool) -> Outcome | None:
        """A user's transaction that commits with this item, or is left without a commit."""
        if leaves:
            return None
        (outcome,) = self.commit([item], worker=worker)
        if outcome is Outcome.ACCEPTED:
            self._renew(worker)
        return outcome

    def _renew(self, worker: str | None) -> None:
        """No heartbeat can be written beside a session that excludes every other writer. Its commit is one."""
        if self.state.sessions_exclude and worker is not None and self.state.alive(worker):
            held = self.state.workers[worker]
            held.beat, held.beat_at = held.beat + 1, self.state.now

    def join(self, first: Append, silent: Step, worker: str) -> Outcome:
        """A joined session begins an instance; a row of its log commits both."""
        refusal = None if first.create is None else self._bars(first, first.create)
        if refusal is not None:
            return refusal
        if not self.state.alive(worker):
            return Outcome.DEAD
        self._renew(worker)
        return self.commit([first, silent], worker=worker)[-1]

    def send(self, item: Append, outbox: Sequence[OutboxRow]) -> Outcome:
        """A joined session sends to the outside, and a start commits it."""
        (outcome,) = self.commit([item])
        if outcome is Outcome.ACCEPTED:
            self.outbox.queue(outbox)
        return outcome

    def drain(self, addresses: Sequence[str], *, limit: int) -> int:
        """A dispatch, and another one while the answer is that there is more."""
        assert limit
        return self.router.dispatch(addresses).delivered

    def deliver(self, batch: Sequence[Delivery], /) -> list[Delivered]:
        return self.router.deliver(batch)

    def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
        found = self.state.instances.get(instance_id)
        if found is None:
            return None
        rows = [found.log[seq] for seq in sorted(found.log) if seq > after]
        return History(instance=found.row, rows=rows[:limit], more=0 < limit < len(rows))

    # ── owning ──────────────────────────────────────────────────────────────────────────────────────────────────

    def claim(self, request: ClaimRequest, /) -> Work:
        state = self.state
        if not state.alive(request.worker):
            return Work(claimed=[], mail=[], now=state.now)
        if request.sweep:
            self._sweep(request)
        mine = [one for one in state.instances.values() if one.owner == request.worker and request.recover]
        due = [one for one in state.instances.values() if (at := self._due(request, one)) and at <= state.now]
        wanted = [one.instance_id for one in state.given.claimed]
        fresh: list[Instance] = _cut(due, request.limit, _rank, lambda one: one.instance_id in wanted)
        turns: Turns = {}
        if request.limit and any(one.fair_line for one in self._waiting(request)):
            fresh, turns = self._in_turn(request, due)
        claimed = [_claimed(one, 0) for one in mine] + [_claimed(one, one.wake_at or 0) for one in fresh]
        for one in fresh:
            one.owner, one.wake_at, one.fair_line = request.worker, None, ""
        left = [at for one in state.instances.values() if (at := self._due(request, one))]
        if len(fresh) == request.limit:
            left = [at for at in left if at > state.now]
        mail = [box for box in map(self._mailbox(request, mine + fresh), self._owned(request.worker)) if box]
        latest = max(min(left), state.now + SECOND) if left else None
        return Work(claimed=claimed, mail=mail, next_due=latest, now=state.now, turns=turns)

    def _waiting(self, request: ClaimRequest) -> list[Instance]:
        """What waits, now or for a time, of the workflows that are asked for."""
        rows = self.state.instances.values()
        return [one for one in rows if one.wake_at is not None and one.workflow_name in request.codes]

    def _in_turn(self, request: ClaimRequest, due: list[Instance]) -> tuple[list[Instance], Turns]:
        """What is taken while starts wait in lines, and where the turns of the worker stand then.

        The rules of turns are `romancy.storage.turns`: the store has to read for them what they ask for. Which of those
        that fell due together comes first is open: those of its answer do.
        """
        wanted = [one.instance_id for one in self.state.given.claimed]
        names = {("0" if one.instance_id in wanted else "1") + one.instance_id: one for one in due}
        choosing = choose(sorted({one.priority for one in due}), request.limit, request.turns)
        chosen = _answered(choosing, names)
        turns = self.state.turns[request.worker] = {**request.turns, **chosen.turns}
        return [names[one] for one in chosen.due], turns

    def _owned(self, worker: str) -> list[Instance]:
        return [one for one in self.state.instances.values() if one.owner == worker]

    def _due(self, request: ClaimRequest, one: Instance) -> int | None:
        """When this worker can claim the instance; None if it never can as things are."""
        code = request.codes.get(one.workflow_name)
        if one.wake_at is None or code is None or code in one.refused:
            return None
        return one.wake_at + (request.grace if one.code in request.leave else 0)

    def _sweep(self, request: ClaimRequest) -> None:
        """Without an owner and a due time, an instance is due if it has unseen mail or is at work by its status.

        A stuck one is due if this worker's code has not refused it, and only then.
        """
        for one in self.state.instances.values():
            if one.owner is None and one.wake_at is None and not one.ended:
                wanted = (one.signals != one.seen and not one.deaf) or one.status in _AT_WORK
                if one.status is Status.STUCK:
                    wanted = request.codes.get(one.workflow_name) not in one.refused | {None}
                one.wake_at = self.state.now if wanted else None

    def _mailbox(self, request: ClaimRequest, new: list[Instance]) -> Callable[[Instance], Mailbox | None]:
        given = {box.instance_id: {row.delivery_id for row in box.rows} for box in self.state.given.mail}
        whole = {box.instance_id for box in self.state.given.mail if not box.after}  # a store may bring all of it

        def box(one: Instance) -> Mailbox | None:
            known = request.known.get(one.instance_id)
            if one not in new and known != -1 and one.signals in {one.seen, known}:
                return None
            kept = 0 if one in new or one.instance_id in whole else request.kept.get(one.instance_id, 0)
            after = kept if kept <= one.signals else 0
            also = given.get(one.instance_id, set[str]())
            rows = [
                InboxRow(mail.delivery_id, mail.body, mail.at, mail.address, mail.interest, mail.posted_at)
                for _, mail in sorted(self.state.inbox.get(one.instance_id, {}).items())
                if mail.low >= after or (mail.high > after and mail.delivery_id in also)
            ]
            if one in new and not rows:
                return None
            return Mailbox(instance_id=one.instance_id, life=one.life, signals=one.signals, rows=rows, after=after)

        return box

    # ── workers ─────────────────────────────────────────────────────────────────────────────────────────────────

    def heartbeat(self, worker: Worker, /) -> Pulse:
        held, given = self.state.workers.get(worker.token), self.state.given
        self._beat(worker, None if held is not None and held.forgotten and given.alive else held, dead=False)
        return Pulse(now=self.state.now, alive=self.state.alive(worker.token), peers=self._peers(worker.token))

    def leave(self, worker: Worker, /) -> None:
        self._beat(worker, self.state.workers.get(worker.token), dead=True)

    def _beat(self, worker: Worker, held: Beating | None, *, dead: bool) -> None:
        now = self.state.now
        if held is None:
            self.state.workers[worker.token] = Beating(worker, now, now, dead=dead)
        elif not held.dead:
            held.worker, held.beat, held.beat_at, held.dead = worker, held.beat + 1, now, dead
        self.state.workers[worker.token].known = True

    def reopen(self) -> None:
        """Another process opens the database. It does not know which workers had a row."""
        for held in self.state.workers.values():
            held.known = False

    def census(self) -> Census:
        return Census(now=self.state.now, workers=self._peers(""))

    def peer(self, token: str) -> Peer:
        """A worker's row as others see it."""
        one = self.state.workers[token]
        worker = one.worker
        return Peer(
            token=token, worker_id=worker.worker_id, lease=worker.lease, beat=one.beat, dead=one.dead,
            codes=worker.codes, host=worker.host, started_at=one.started_at, beat_at=one.beat_at,
        )  # fmt: skip

    def _peers(self, but: str) -> list[Peer]:
        workers = self.state.workers
        return [self.peer(one) for one in workers if one != but and (not workers[one].dead or self._owned(one))]

    def takeover(self, worker: str, dead: Peer, body: bytes, writer: str, /, *, limit: int = 100) -> Takeover:
        state = self.state
        held = state.workers.get(dead.token)
        gone = held is None or (held.pruned and state.given.refused)
        if gone or held is None or not state.alive(worker) or (not held.dead and held.beat != dead.beat):
            return Takeover(refused=True)
        held.dead = True
        owned = self._owned(dead.token)
        moved = _cut(owned, limit, lambda _: 0, lambda one: one.instance_id in state.given.moved)
        for one in moved:
            seq = one.head + 1
            one.crashes = one.crashes + 1 if one.crash_seq == one.head else 1
            one.log[seq] = LogRow(seq, writer, body, state.now)
            one.owner, one.wake_at, one.updated_at, one.last_seq, one.crash_seq = None, state.now, state.now, seq, seq
        return Takeover(moved=tuple(one.instance_id for one in moved), left=len(owned) > len(moved))

    # ── removing ────────────────────────────────────────────────────────────────────────────────────────────────

    def prune(self, request: PruneRequest, /) -> tuple[int, dict[str, int]]:
        """The answer, and then the first seq of each log that is left."""
        state = self.state
        left: dict[str, int] = state.given[1]
        doomed = [one for one in state.instances.values() if _prunable(request, one)]
        removed = _cut(doomed, request.limit, lambda _: 0, lambda one: one.instance_id not in left)
        for one in removed:
            self.router.remove(one.instance_id)
        former = [one for one in state.instances.values() if min(one.log) < one.run_from]
        shortened = [one for one in former if left.get(one.instance_id) == one.run_from]
        most = max(request.limit, len(shortened))
        for one in _cut(former, most, lambda _: 0, lambda one: one in shortened):
            one.log = {seq: row for seq, row in one.log.items() if seq >= one.run_from}
        for token, held in state.workers.items():
            held.pruned = held.pruned or (held.dead and not self._owned(token))
        if request.dedupe_before is not None:
            state.seen = {key: at for key, at in state.seen.items() if at >= request.dedupe_before}
        return len(removed), {one.instance_id: min(one.log) for one in state.instances.values()}


def _prunable(request: PruneRequest, one: Instance) -> bool:
    old = request.ended_before is not None and one.updated_at < request.ended_before
    named = one.instance_id in request.instance_ids and one.updated_at <= request.named_until
    return one.ended and one.status in request.statuses and (old or named)


def _ends(change: Change) -> bool:
    return change.status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


def _cut(
    found: Iterable[Instance], limit: int, key: Callable[[Instance], int], given: Callable[[Instance], bool]
) -> Any:
    """The first by `key`, up to the limit. Of equals the store may choose any: those of its answer come first."""
    return sorted(found, key=lambda one: (key(one), not given(one), one.instance_id))[:limit]


def _rank(one: Instance) -> int:
    return rank(one.wake_at or 0, one.priority)


def _answered(choosing: Generator[Look, Sequence[InLine], Chosen], names: Mapping[str, Instance]) -> Chosen:
    try:
        look = next(choosing)
        while True:
            look = choosing.send(_seen(look, names))
    except StopIteration as end:
        chosen: Chosen = end.value
        return chosen


def _seen(look: Look, names: Mapping[str, Instance]) -> list[InLine]:
    """What a store reads for the turns."""
    found: list[InLine] = []
    for flow in sorted({one.workflow_name for one in names.values()}):
        rows = [
            InLine(flow, one.fair_line, name, one.wake_at or 0)
            for name, one in names.items()
            if one.workflow_name == flow and one.priority == look.priority and look.low <= one.fair_line < look.below
        ]
        found += sorted(rows, key=lambda row: (row.line, row.wake_at, row.instance_id))[: look.limit]
    return found


def _claimed(one: Instance, due: int) -> Claimed:
    last = one.log.get(one.head)
    return Claimed(
        instance_id=one.instance_id, life=one.life, workflow_name=one.workflow_name, status=one.status, code=one.code,
        run_from=one.run_from, head=one.head, head_writer=None if last is None else last.writer,
        signals=one.signals, seen=one.seen, crashes=one.crashes if one.crash_seq == one.head else 0, due=due,
        log=tuple(one.log[seq].body for seq in sorted(one.log) if seq >= one.run_from),
    )  # fmt: skip
