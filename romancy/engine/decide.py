"""Pure decisions about an instance: what to append, what its row shows, and when to release it.

Nothing here waits or writes. The driver carries out the decisions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Raw

from romancy.core import (
    Activation,
    CancelChild,
    Departure,
    MessageAwaited,
    MessageReceived,
    MessageSent,
    OwnerChanged,
    Publish,
    RunEnd,
    StartActivity,
    StartChild,
    WaitTimedOut,
    WorkflowCancelled,
    encode_commit,
    wanted_by,
)
from romancy.engine.family import end_to_tell, parent_of
from romancy.engine.inbox import EMPTY_INBOX
from romancy.engine.interests import nothing_more
from romancy.engine.messages import (
    CancelMessage,
    Mailed,
    encode_message,
    outgoing,
)
from romancy.engine.places import marks
from romancy.engine.sending import sent_by
from romancy.engine.slot import FREE
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.limits import MAX_EVENT_BYTES
from romancy.storage.records import Append, Change, Delivery, OutboxRow, Step
from romancy.storage.steps import behind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy.core import Effect, Input, LogEvent
    from romancy.engine.inbox import Mail
    from romancy.engine.incarnation import Incarnation
    from romancy.engine.instance import Live
    from romancy.engine.observer import Observer
    from romancy.engine.unwritten import Happened
    from romancy.storage.records import Claimed, Item
    from romancy.storage.routing import Posting

__all__ = [
    "append_behind",
    "change_for",
    "due_of",
    "handing_back",
    "how_many_fit",
    "idle_release",
    "is_among_its_own",
    "is_bound",
    "is_step",
    "owner_changed",
    "short",
    "side_effects",
    "step_behind",
    "terminated",
    "termination",
]

_REST_AFTER: Final = 2_000_000
_LOOK_AFTER: Final = 300_000_000
_LONGEST_ERROR: Final = 1000
_RUNNING: Final = Status.RUNNING
_COMPENSATING: Final = Status.COMPENSATING
_ENDING: Final = (Status.CANCELLING, Status.COMPENSATING)
"""Python 3.11 calls a function for each `Status.RUNNING`."""
_AROUND: Final = 64
"""Bytes of an input in a commit beside what it brings."""


def short(text: str | None) -> str | None:
    """An error text, cut to the length that an instance's row holds."""
    return text if text is None or len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 1] + "…"


class SideEffects(NamedTuple):
    """Children, messages to instances, outgoing messages, and messages posted to addresses."""

    children: list[StartChild]
    deliveries: tuple[Delivery, ...]
    outbox: tuple[OutboxRow, ...]
    postings: tuple[Posting, ...]


def side_effects(
    effects: Iterable[Effect],
    outcome: RunEnd | None,
    live: Live,
    incarnation: Incarnation,
    announces: Observer | None = None,
) -> SideEffects:
    """Everything else that the transaction of the append must write. `announces` asks hooks for headers."""
    children: list[StartChild] = []
    deliveries: list[Delivery] = []
    outbox: list[OutboxRow] = []
    postings: list[Posting] = []
    for effect in effects:
        if isinstance(effect, StartChild):
            if not effect.again:
                children.append(effect if announces is None else announces.announce_child(live, effect))
        elif isinstance(effect, CancelChild):
            reason = f"its parent {live.instance_id} gave it up"
            parent = parent_of(live.instance_id, live.life, effect)
            message = CancelMessage(reason=reason, parent=parent, wanted_by=effect.wanted_by)
            deliveries.append(_to(effect.instance_id, message, incarnation.stamp()))
        elif isinstance(effect, Publish):
            headers = live.headers
            if announces is not None:
                headers = announces.announce(live, "publish", effect.name, None, headers)
            outbox.append(
                outgoing(
                    effect.name,
                    effect.data,
                    effect.key,
                    incarnation.stamp(),
                    instance_id=live.instance_id,
                    headers=headers,
                )
            )
        elif isinstance(effect, MessageSent):
            sent = sent_by(effect if announces is None else announces.announce_send(live, effect), incarnation.stamp())
            if isinstance(sent, Delivery):
                deliveries.append(sent)
            else:
                postings.append(sent)
    if outcome is not None and live.parent is not None:
        by = "" if live.run.state.started is None else wanted_by(live.run.state.started)
        end = end_to_tell(outcome, live.parent.child_id, live.parent.life, by)
        deliveries.append(_to(live.parent.instance_id, end, incarnation.stamp()))
    return SideEffects(children, tuple(deliveries), tuple(outbox), tuple(postings))


def _to(instance_id: str, message: Mailed, stamp: str) -> Delivery:
    return Delivery(instance_id=instance_id, delivery_id=stamp, body=encode_message(message))


def is_step(live: Live, activation: Activation, inputs: Sequence[tuple[Input, Mail | None]]) -> bool:
    """Whether this is the common case: an attempt ended, activities follow, and only the log changes."""
    if activation.outcome is not None or activation.parked is not None or live.shown is not _RUNNING:
        return False
    if activation.status is not _RUNNING or activation.dropped or not activation.effects:
        return False
    for event, mail in inputs:
        if mail is not None or event.__class__ is WaitTimedOut:
            return False
    for effect in activation.effects:  # noqa: SIM110 - a generator costs a call for each
        if type(effect) is not StartActivity:
            return False
    return True


def is_among_its_own(item: Item) -> bool:
    """Whether an append sends messages to no instance but its own and the children that it starts."""
    if isinstance(item, Step) or not item.deliveries:
        return True
    own = {item.instance_id, *(start.instance_id for start in item.starts)}
    return own.issuperset(delivery.instance_id for delivery in item.deliveries)


def how_many_fit(inputs: Sequence[tuple[Input, Mail | None]]) -> int:
    """How many of the inputs fit into one commit; at least one.

    They may fill half of a commit; the other half is for the events that follow from them.
    """
    if len(inputs) == 1:
        return 1
    size = 0
    for count, (event, _) in enumerate(inputs):
        size += _size_of(event)
        if count and size > MAX_EVENT_BYTES:
            return count
    return len(inputs)


def _size_of(event: Input) -> int:
    """About how many bytes of a commit an input takes: all of it counts, also the headers of a message."""
    if isinstance(event, MessageReceived):
        return len(encode_message(event.message)) + len(event.id) + _AROUND
    result = getattr(event, "result", None)
    return _AROUND + len(result) if isinstance(result, Raw) else len(encode_commit([event]))


def change_for(live: Live, activation: Activation, now: int, *, consumed: bool) -> Change | None:
    """The change of the row after this activation; None if it changes no column that queries or claims read."""
    status = activation.status
    if activation.parked is not None:
        return Change(
            status=Status.STUCK,
            seen=live.signals,
            release=True,
            refused_by=live.definition.code,
            error=short(activation.parked),
        )
    if activation.outcome is not None:
        failure = activation.outcome.error
        error = short(failure.summary) if failure is not None else None
        return Change(status=status, seen=live.signals, error=error)
    if status is _COMPENSATING and live.run.state.is_undone:
        return Change(status=status, seen=live.signals, release=True, wake_at=now)
    if _rests(live, activation, now):
        return Change(status=status, seen=live.signals, release=True, wake_at=_look_again(live, now))
    if consumed or status in _ENDING or live.shown is not _RUNNING:
        visible = status if status in _ENDING else _RUNNING
        return Change(status=visible, seen=live.signals) if consumed or visible is not live.shown else None
    return None


def _rests(live: Live, activation: Activation, now: int) -> bool:
    """Whether the instance has nothing to do for so long that the worker should release it."""
    if live.inputs or _is_at_work(live) or activation.status in TERMINAL_STATUSES or is_bound(live):
        return False
    inbox = live.inbox
    if inbox.pressing:
        return False  # the message is fed after this append: the previous run had no use for it
    if inbox.put_off:
        return False  # so is this one, once the run has acted on what is written now
    if live.returning or inbox.taken:
        return False  # a message is given back first; no other worker knows of it
    for effect in activation.effects:
        if isinstance(effect, StartChild) and effect.again:
            return False
        if inbox is not EMPTY_INBOX and isinstance(effect, MessageAwaited) and inbox.has_for(effect):
            return False
    return activation.wake_at is None or activation.wake_at - now > _REST_AFTER


def is_bound(live: Live) -> bool:
    """Whether a retried run has outstanding work that only this process knows of."""
    return bool(live.reviving) or live.run.remembers


def _is_at_work(live: Live) -> bool:
    """Whether work for the run is under way, here or, after its attempts were dropped, elsewhere."""
    state = live.run.state
    return bool(live.attempts or state.activities or state.compensations or state.joining or state.listing)


def _look_again(live: Live, now: int) -> int | None:
    """When to load a resting instance again if no message arrives earlier.

    An instance that waits for its children to stop has the status of an instance being cancelled. A sweep would treat
    it as stranded. Workers therefore load it from time to time, and less often the longer it waits.
    """
    state = live.run.state
    wake_at = state.wake_at()
    if wake_at is not None or state.cancel is None or state.status() is not Status.CANCELLING:
        return wake_at
    return now + max(_LOOK_AFTER, now - state.cancel.at)


def step_behind(claimed: Claimed, writer: str, body: bytes) -> Step:
    """The next row of the log of an instance that is not loaded, which nothing else goes with."""
    seq = claimed.head + 1
    return Step(claimed.instance_id, claimed.life, seq, writer, body, behind(claimed.head_writer))


def append_behind(claimed: Claimed, writer: str, body: bytes, change: Change, consumed: tuple[str, ...] = ()) -> Append:
    """The same with a change of the instance's row."""
    return Append(
        instance_id=claimed.instance_id,
        life=claimed.life,
        seq=claimed.head + 1,
        writer=writer,
        body=body,
        after=claimed.head_writer,
        change=change,
        consumed=consumed,
    )


def idle_release(live: Live, now: int, writer: str) -> Item | None:
    """An append that only releases the instance, if the claim brought no work and the next due time is far."""
    wake_at = _look_again(live, now)
    idle = live.slot is FREE and not (live.inputs or _is_at_work(live) or is_bound(live) or live.returning)
    if not idle or (wake_at is not None and wake_at - now <= _REST_AFTER):
        return None
    change = Change(status=live.run.status(), seen=live.signals, release=True, wake_at=wake_at)
    return live.append(writer, owner_changed(now, "", live.definition.code), change)


def due_of(live: Live) -> int:
    """Since when the instance is due: since before it was claimed or, if it began here, since it last moved."""
    return live.due or live.run.state.time


def handing_back(live: Live, now: int, writer: str, *, interrupted: bool, not_begun: tuple[str, ...] = ()) -> Item:
    """An append that releases the instance to any worker.

    If it has something to do, it is due since it was claimed, or since it last moved: it keeps its place in the order.
    `interrupted`: attempts were dropped that had begun; none of the at-most-once activities in `not_begun`.
    """
    busy = live.inputs or live.run.resumable or is_bound(live) or _is_at_work(live) or live.returning
    wake_at = min(now, due_of(live)) if busy else _look_again(live, now)
    change = Change(status=live.run.status(), seen=live.signals, release=True, wake_at=wake_at)
    body = owner_changed(now, "", live.definition.code, interrupted=interrupted, not_begun=not_begun)
    return live.append(writer, body, change)


def termination(
    live: Live, ended: Happened, now: int, reason: str, delivery_id: str, incarnation: Incarnation
) -> tuple[Item, Activation]:
    """The append that terminates the instance and consumes the request to terminate, with the outcome.

    It begins with what happened and the run was not fed.
    """
    reason = reason or "terminated"
    end = RunEnd(Status.CANCELLED, reason=reason)
    sent = ended.sends()
    deliveries = side_effects((), end, live, incarnation).deliveries + sent.deliveries
    change = Change(status=Status.CANCELLED, seen=live.signals, error=short(reason))
    routing = nothing_more(live)
    item = live.append(
        incarnation.nonce(),
        terminated(now, reason, ended.events),
        change,
        consumed=(delivery_id,),
        outbox=sent.outbox,
        deliveries=deliveries,
        routing=routing,
        postings=sent.postings + marks(routing.lanes, incarnation.stamp),
    )
    return item, Activation(events=list(ended.events), effects=[], status=Status.CANCELLED, outcome=end)


def terminated(now: int, reason: str, happened: Sequence[LogEvent] = ()) -> bytes:
    """The commit that terminates an instance, behind what happened and nothing follows from any more."""
    return encode_commit([*happened, OwnerChanged(at=now), WorkflowCancelled(reason=reason)])


def owner_changed(
    now: int,
    owner: str,
    code: str,
    *,
    alone: bool = False,
    heard: int = 0,
    departure: Departure | None = None,
    interrupted: bool = False,
    tried: str = "",
    not_begun: tuple[str, ...] = (),
) -> bytes:
    """The body of the entry that a takeover appends or, without an owner, a release."""
    entry = OwnerChanged(
        at=now,
        owner=owner,
        code=code,
        alone=alone,
        heard=heard,
        misfit=departure,
        interrupted=interrupted,
        tried=tried,
        not_begun=not_begun,
    )
    return encode_commit([entry])
