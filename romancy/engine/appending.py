"""The append that follows from an activation: its log row, and everything written with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import Unsubscribed, encode_commit
from romancy.engine.child_starts import start_of_child
from romancy.engine.decide import change_for, side_effects
from romancy.engine.failing import with_failure
from romancy.engine.interests import difference
from romancy.engine.leftover_mail import too_late
from romancy.engine.places import marks
from romancy.engine.recur import with_new_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.core import Activation
    from romancy.engine.activities.port import Port
    from romancy.engine.inbox import Given
    from romancy.engine.incarnation import Incarnation
    from romancy.engine.instance import Live
    from romancy.engine.observer import Observer
    from romancy.registry import Registry
    from romancy.storage.records import Append, Step

__all__ = ["append_of"]


def append_of(  # noqa: C901 - the parts of one append, in their order
    live: Live,
    activation: Activation,
    inputs: list[Given],
    ports: Mapping[int, Port],
    *,
    now: int,
    incarnation: Incarnation,
    registry: Registry,
    anew: bool,
    announces: Observer | None,
) -> Step | Append:
    """The append of an activation, with what ended attempts (`ports`) leave. `anew`: another run has begun.

    `announces` asks hooks about what it sends.
    """
    dropped = {id(event) for event in activation.dropped} if activation.dropped else ()
    taken: list[str] = []
    consumed: tuple[str, ...] = ()
    for event, mail in inputs:
        if mail is not None:
            taken.append(mail.delivery_id)
            if id(event) not in dropped:
                consumed += (mail.delivery_id,)
    if activation.outcome is not None:
        consumed += too_late(live, inputs, activation.dropped)
    if live.unused:
        consumed += tuple(id for id in live.take_unused() if id not in consumed)
    for effect in activation.effects:
        if isinstance(effect, Unsubscribed) and len(live.inbox):
            consumed = tuple(dict.fromkeys((*consumed, *live.inbox.copies_of(effect.topic))))
    routing = difference(live, activation, inputs, anew=anew)
    if activation.outcome is not None and activation.outcome.error is not None:
        error = activation.outcome.error
        routing = with_failure(routing, live.definition, activation.events, error, registry.release)
    children, deliveries, outbox, postings = side_effects(
        activation.effects, activation.outcome, live, incarnation, announces
    )
    for port in ports.values():
        outbox, deliveries, postings = outbox + port.outbox, deliveries + port.deliveries, postings + port.postings
    if routing.lanes:
        postings += marks(routing.lanes, incarnation.stamp)
    change = change_for(live, activation, now, consumed=bool(consumed))
    return live.append(
        incarnation.nonce(),
        encode_commit(activation.events),
        with_new_run(live, change, live.head + 1) if anew else change,
        taking=frozenset((*consumed, *taken)),
        consumed=consumed,
        outbox=outbox,
        deliveries=deliveries,
        starts=tuple([start_of_child(registry, incarnation, live, child) for child in children]) if children else (),
        routing=routing,
        postings=postings,
    )
