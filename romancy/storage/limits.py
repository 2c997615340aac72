"""Refuses values before they reach a database, so that every database refuses the same values."""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from msgspec import Raw

from romancy.errors import InternalError, PayloadTooLargeError, UsageError
from romancy.status import TERMINAL_STATUSES
from romancy.storage.records import END, Step
from romancy.storage.routing import MAX_ADDRESS_BYTES, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from romancy.storage.records import Append, Change, Create, Delivery, Item, OutboxRow
    from romancy.storage.routing import Interest, Owner, Posting

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_EVENT_BYTES",
    "MAX_ID_BYTES",
    "MAX_WHERE_BYTES",
    "MEASURED_BYTES",
    "SHORT_COMMIT_BYTES",
    "SHORT_LOG_COMMITS",
    "can_be_id",
    "check_batch",
    "check_deliveries",
    "check_event",
    "check_id",
    "check_interest",
    "check_key",
    "check_messages",
    "check_outbox",
    "check_owner",
    "check_postings",
    "check_step",
    "check_text",
]

Payload = TypeVar("Payload", bytes, Raw)

MAX_ID_BYTES = 255
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_EVENT_BYTES = 2 * 1024 * 1024
"""Upper bound on the stored form of one result or message. A commit has room for it and for what follows from it."""
MEASURED_BYTES = MAX_EVENT_BYTES // 4
"""Up to this size, the stored form of a value is not measured."""
MAX_WHERE_BYTES = 60 * 1024
"""Upper bound on the encoded conditions of one interest."""

SHORT_LOG_COMMITS = 4
SHORT_COMMIT_BYTES = 8192
"""A claim may bring a log of at most this many commits of at most this size each (`Claimed.log`)."""

_HALF = "holds half of a surrogate pair, which is not text; fix its encoding"


def check_id(value: str, what: str = "instance id", *, at_most: int = MAX_ID_BYTES) -> None:
    """Refuse an id that some database would cut, fold or refuse."""
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped code calls this too
        raise UsageError(f"{what}: must be a string, not {type(value).__name__}")
    if not value:
        raise UsageError(f"{what}: must not be empty")
    if "\x00" in value:
        raise UsageError(f"{what}: holds a NUL character; remove it")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise UsageError(f"{what}: {_HALF}") from None
    if size > at_most:
        raise UsageError(f"{what}: {size} bytes of UTF-8, at most {at_most} are allowed; use a shorter id")


_check_name: Final = lru_cache(maxsize=1024)(check_id)
"""`check_id` for the names of workflows and versions of their code, which are few."""


def check_key(value: str | None) -> None:
    """Refuse a key of an event that is not text. None means no key."""
    if value is not None:
        check_text(value, "key of the event")


def check_text(value: str, what: str) -> None:
    """Refuse what is not text. The text may be empty, of any length, and hold NUL."""
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped code calls this too
        raise UsageError(f"{what}: must be a string, not {type(value).__name__}")
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what}: {_HALF}") from None


def check_event(
    raw: Payload, what: str, stored: Callable[[bytes], int] = len, *, at_most: int = MAX_EVENT_BYTES
) -> Payload:
    """Refuse an argument, a result or a message that exceeds the size of one event; otherwise return it.

    `stored` tells how many bytes are stored for it.
    """
    size = stored(raw)
    if size > at_most:
        _refuse_size(size, at_most, what, "" if size == len(raw) else " as stored")
    return raw


def can_be_id(value: str) -> bool:
    """Whether a row can hold this id. A store asked for any other id answers that it does not exist."""
    try:
        check_id(value)
    except UsageError:
        return False
    return True


_TARGET: Final = attrgetter("instance_id")


def check_batch(batch: Sequence[Item], worker: str | None) -> None:
    """Refuse a batch that breaks the rules of `Store.commit`, before any of it is written."""
    targets = set(map(_TARGET, batch))
    if len(targets) < len(batch):
        _refuse_repeated(batch)
    for item in batch:
        if type(item) is Step:  # as `check_step` does, without a call for each
            if worker is None or len(item.body) > MAX_BODY_BYTES or (item.behind or "")[-1:] == END:
                _refuse_step(item, worker)
            continue
        if item.create is None:
            _check_row(item, worker)
        else:
            _check_first(item, item.create)
        _check_effects(item, targets)


def check_step(step: Step, worker: str | None) -> None:
    """Refuse what `check_batch` refuses, for a lone step."""
    if worker is None or len(step.body) > MAX_BODY_BYTES or (step.behind or "")[-1:] == END:
        _refuse_step(step, worker)


def check_deliveries(batch: Sequence[Delivery]) -> None:
    """Refuse deliveries that could not be stored, before any of them is written."""
    for delivery in batch:
        check_id(delivery.instance_id)
        check_id(delivery.delivery_id, "delivery id")
        if delivery.dedupe is not None:
            check_id(delivery.dedupe, "dedupe key")
        if len(delivery.body) > MAX_BODY_BYTES:
            _refuse_body(delivery.body, f"delivery to instance {delivery.instance_id!r}")


def check_outbox(rows: Sequence[OutboxRow]) -> None:
    """Refuse messages for the outside that could not be stored, before any of them is written."""
    for row in rows:
        check_id(row.outbox_id, "outbox id")
        check_id(row.topic, f"topic of outbox message {row.outbox_id!r}")
        if row.key is not None:
            check_id(row.key, f"order key of outbox message {row.outbox_id!r}")
        if row.instance_id is not None:
            check_id(row.instance_id, f"sender of outbox message {row.outbox_id!r}")
        if len(row.body) > MAX_BODY_BYTES:
            _refuse_body(row.body, f"outbox message {row.outbox_id!r}")


def check_postings(batch: Sequence[Posting]) -> None:
    """Refuse postings that could not be stored, before any of them is written."""
    for posting in batch:
        what = f"message {posting.message_id!r}"
        check_id(posting.message_id, "message id")
        if not posting.places:
            raise InternalError(f"{what} is posted to no address")
        addresses: set[str] = set()
        takes = 0
        for place in posting.places:
            check_id(place.address, "address of a message", at_most=MAX_ADDRESS_BYTES)
            addresses.add(place.address)
            takes += place.spread is not Spread.EVERY
        if len(addresses) < len(posting.places):
            raise InternalError(f"{what} is posted twice to one address")
        if takes > 1:
            raise InternalError(f"{what} can be taken at two addresses; allow only one")
        if posting.dedupe is not None:
            check_id(posting.dedupe, "dedupe key")
        if len(posting.body) > MAX_BODY_BYTES:
            _refuse_body(posting.body, what)


def check_messages(deliveries: Sequence[Delivery], outbox: Sequence[OutboxRow], postings: Sequence[Posting]) -> None:
    """Refuse messages of one call that could not be stored, before any of them is written."""
    check_deliveries(deliveries)
    check_outbox(outbox)
    check_postings(postings)


def check_owner(owner: Owner) -> None:
    """Refuse an owner whose id no row can hold."""
    check_id(owner.name, "owner of an interest")


def check_interest(interest: Interest) -> None:
    """Refuse an interest that could not be stored."""
    what = f"interest {interest.interest_id!r}"
    check_id(interest.interest_id, "interest id")
    check_id(interest.address, f"address of {what}", at_most=MAX_ADDRESS_BYTES)
    if interest.where is not None and len(interest.where) > MAX_WHERE_BYTES:
        _refuse_size(len(interest.where), MAX_WHERE_BYTES, f"conditions of {what}")


def _refuse_repeated(batch: Sequence[Item]) -> NoReturn:
    ids = [item.instance_id for item in batch]
    repeated = next(one for at, one in enumerate(ids) if one in ids[:at])
    raise InternalError(f"instance {repeated!r} appears twice in one batch; it has one append slot")


def _refuse_step(step: Step, worker: str | None) -> NoReturn:
    _check_row(step, worker)
    raise InternalError(f"a step of {step.instance_id!r} asks for a row that ended the instance; nothing follows that")


def _check_row(item: Step | Append, worker: str | None) -> None:
    if worker is None:
        raise InternalError(f"append to {item.instance_id!r} without a worker; only a first one can do without")
    if len(item.body) > MAX_BODY_BYTES:
        _refuse_body(item.body, f"commit {item.seq} of instance {item.instance_id!r}")


def _check_effects(item: Append, targets: set[str]) -> None:
    for start in item.starts:
        if start.instance_id in targets:
            raise InternalError(f"instance {start.instance_id!r} appears twice in one batch; it has one append slot")
        targets.add(start.instance_id)
        _check_child(start)
    if (change := item.change) is not None:
        if item.writer.endswith(END) is not (change.status in TERMINAL_STATUSES):
            _refuse_mark(item)
        texts = (change.code, change.refused_by, change.error)
        if change.input or change.unowned or texts != _NO_TEXTS:
            _check_change(change, item.instance_id)
    if item.deliveries:
        check_deliveries(item.deliveries)
    if item.outbox:
        check_outbox(item.outbox)
    if item.interests:
        _check_interests(item)
    if item.postings:
        check_postings(item.postings)


def _check_interests(item: Append) -> None:
    for interest in item.interests:
        check_interest(interest)
    if len(item.interests) > 1 and len({each.interest_id for each in item.interests}) < len(item.interests):
        raise InternalError(f"an append to {item.instance_id!r} registers an interest twice")


_NO_TEXTS: Final = (None,) * 3


def _check_change(change: Change, instance_id: str) -> None:
    if change.unowned and change.reopens:
        raise InternalError(f"the append to {instance_id!r} reopens it: an ended instance has no owner")
    if change.input is not None and len(change.input) > MAX_BODY_BYTES:
        _refuse_body(change.input, f"input of the next run of instance {instance_id!r}")
    if change.code is not None:
        check_id(change.code, "code version")
    if change.refused_by is not None:
        check_id(change.refused_by, "code version")
    if change.error is not None:
        check_text(change.error, f"error of instance {instance_id!r}")


def _refuse_mark(item: Item) -> NoReturn:
    raise InternalError(f"the nonce of an item for {item.instance_id!r} does not tell whether it ends the instance")


def _check_first(item: Append, create: Create) -> None:
    change = item.change
    if item.seq != 1 or item.after is not None or item.consumed:
        raise InternalError(f"append {item.seq} to {item.instance_id!r} cannot create the instance")
    if change is not None:
        _check_first_change(item, create, change)
    elif item.writer.endswith(END):
        _refuse_mark(item)
    if create.replaces is not None and create.replaces.life == item.life:
        raise InternalError(f"the first append to {item.instance_id!r} replaces its own life")
    check_id(item.instance_id)
    _check_name(create.workflow_name, "workflow name")
    _check_name(create.code, "code version")
    if create.parent is not None:
        check_id(create.parent, "id of the parent")
    if len(item.body) > MAX_BODY_BYTES:
        _refuse_body(item.body, f"start of instance {item.instance_id!r}")
    if len(create.input) > MAX_BODY_BYTES:
        _refuse_body(create.input, f"input of instance {item.instance_id!r}")


_OF_A_FIRST: Final = (None,) * 6


def _check_first_change(item: Append, create: Create, change: Change) -> None:
    later = (change.run_from, change.code, change.refused_by, change.input, change.projection, change.index)
    if later != _OF_A_FIRST or change.seen or change.forgive or change.finds:
        raise InternalError(f"the first append to {item.instance_id!r} has a change that only a later one can have")
    if create.owner is not None and (change.release or change.status in TERMINAL_STATUSES):
        raise InternalError(f"the first append to {item.instance_id!r} names an owner and releases the instance")


def _check_child(start: Append) -> None:
    create = start.create
    if create is None:
        raise InternalError(f"the start of the child {start.instance_id!r} does not create it")
    carried = (
        start.change, start.outbox, start.deliveries, start.starts, start.interests, start.uninterested, start.postings,
    )  # fmt: skip
    if any(carried) or create.owner is not None or create.replaces is not None:
        raise InternalError(f"the start of the child {start.instance_id!r} carries more than the child")
    _check_first(start, create)


def _refuse_body(body: bytes, what: str) -> NoReturn:
    _refuse_size(len(body), MAX_BODY_BYTES, what)


def _refuse_size(size: int, limit: int, what: str, how: str = "") -> NoReturn:
    raise PayloadTooLargeError(
        f"{what}: {size:,} bytes{how}, at most {limit:,} are allowed; store large data elsewhere and pass a reference"
    )
