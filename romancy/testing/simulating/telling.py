"""What the trace says of a call: which instances it is about, and what the database has answered.

The words are separated by spaces. An instance id is a word of its own; `#` and a seq may follow it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.storage.records import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from romancy.storage.records import Claimed, Delivery, Item, Mailbox
    from romancy.storage.routing import Posting

__all__ = ["asked", "told"]


def asked(what: str, work: object) -> str:
    """Name a call that has no answer, and describe it."""
    return f"{what} {told(what, work)}".rstrip()


def told(what: str, work: object, answer: Any = None) -> str:
    """Describe the call `what`, whose arguments are those of the partial `work`. None: there is no answer."""
    tell = _TOLD.get(what)
    return "" if tell is None else tell(getattr(work, "args", ()), answer)


def _with_answers(each: Iterable[str], answers: Iterable[object] | None) -> str:
    if answers is None:
        return " ".join(each)
    return " ".join(f"{one} {answer}" for one, answer in zip(each, answers, strict=False))


def _item(item: Item) -> str:
    """`order-7#3 completed starts order-7.a`."""
    text = f"{item.instance_id}#{item.seq}"
    if isinstance(item, Step):
        return text
    if item.create is not None:
        text += " created"
    if item.change is not None:
        text += f" {item.change.status}{' released' if item.change.release else ''}"
    if item.starts:
        text += " starts " + " ".join(start.instance_id for start in item.starts)
    if item.deliveries:
        text += " tells " + _ids(item.deliveries)
    return text


def _ids(rows: Iterable[Delivery | Claimed | Mailbox]) -> str:
    return " ".join(row.instance_id for row in rows)


def _committed(args: tuple[Any, ...], answer: Any) -> str:
    return _with_answers(map(_item, args[0]), answer)


def _committed_in_session(args: tuple[Any, ...], answer: Any) -> str:
    return _with_answers([_item(args[0])], None if answer is None else [answer])


def _delivered(args: tuple[Any, ...], answer: Any) -> str:
    return _with_answers([delivery.instance_id for delivery in args[0]], answer)


def _sent(args: tuple[Any, ...], answer: Any) -> str:
    deliveries, _, postings = (*args, (), (), ())[:3]
    return _with_answers([*(each.instance_id for each in deliveries), *map(_places, postings)], answer)


def _posted(args: tuple[Any, ...], answer: Any) -> str:
    return _with_answers(map(_places, args[0]), answer)


def _places(posting: Posting) -> str:
    return " ".join(place.address for place in posting.places)


def _claimed(args: tuple[Any, ...], answer: Any) -> str:
    leaving = f"leaves {' '.join(args[0].leave)}" if args[0].leave else ""
    if answer is None:
        return leaving
    got = _ids(answer.claimed)
    mail = f"mail {_ids(answer.mail)}" if answer.mail else ""
    return " ".join(filter(None, (leaving, got, mail)))


def _beaten(_: tuple[Any, ...], answer: Any) -> str:
    return "" if answer is None or answer.alive else "was declared dead"


def _taken_over(args: tuple[Any, ...], answer: Any) -> str:
    text = f"from {args[1].worker_id}"
    if answer is None:
        return text
    if answer.refused:
        return f"{text} refused"
    return " ".join((text, *answer.moved, *(("left",) if answer.left else ())))


def _read(args: tuple[Any, ...], answer: Any) -> str:
    if answer is None:
        return str(args[0])
    return f"{args[0]}#{answer.instance.last_seq} {answer.instance.status}"


def _of_owner(args: tuple[Any, ...], _: Any) -> str:
    return str(args[0].name)


def _of_registration(args: tuple[Any, ...], _: Any) -> str:
    return f"{args[0].name} at {args[1].address}"


def _of_name(args: tuple[Any, ...], _: Any) -> str:
    return " ".join(map(str, args[:1]))


def _dispatched(_: tuple[Any, ...], answer: Any) -> str:
    return f"{answer.delivered} delivered" if answer is not None and answer.delivered else ""


_TOLD: Final[dict[str, Callable[[tuple[Any, ...], Any], str]]] = {
    "commit": _committed,
    "session commit": _committed_in_session,
    "join send": _sent,
    "deliver": _delivered,
    "claim": _claimed,
    "heartbeat": _beaten,
    "takeover": _taken_over,
    "read": _read,
    "lookups.lying": _of_name,
    "router.post": _posted,
    "router.dispatch": _dispatched,
    "router.register": _of_registration,
    "router.unregister": _of_owner,
    "router.give_back": _of_owner,
    "router.letters": _of_name,
    "router.acknowledge": _of_name,
}
