"""The scripts of routing that are operations here.

A dispatch has read without locks. It writes in one packet that counts the removed rows. If another dispatch has removed
a message or an interest in the meantime, or has moved a number, the count is too small and the dispatch begins anew.
So two dispatches of an address never both succeed on the same rows, and none holds a lock while this process decides.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from romancy.storage.routing import InterestKind
from romancy.storage.sqlkit import outbox, routing
from romancy.storage.sqlkit.dispatches import COUNTED, LATE, LETTER
from romancy.storage.sqlkit.statements import Answer, Ask, ask, ask_all, ask_last, look, nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.storage.sqlkit.dispatches import Decision, Row
    from romancy.storage.sqlkit.statements import Operation, Own, Values

__all__ = ["OWN", "register_interest_in_rounds", "write_uncounted"]


def _due(values: Values) -> Operation[Answer]:
    """All of them: what a dispatch reads first tells in the same round trip whether there is something to route."""
    yield from nothing(values)
    return Answer([(address, None) for address in values["addresses"]], len(values["addresses"]))


def _write(values: Values) -> Operation[Answer]:
    return (yield from _written(values["decision"], counting=True))


def write_uncounted(values: Values) -> Operation[Answer]:
    """Where nothing but NOWAIT leaves out what others hold: all mail is counted later."""
    return (yield from _written(values["decision"], counting=False))


def _written(decision: Decision, *, counting: bool) -> Operation[Answer]:
    mail = sorted({(name, one) for name, one, *_ in decision.mail})
    if not counting:
        yield from ask_last(*_moving(decision))
        late = {*mail}
    else:
        then = (Ask("still_uncounted", {"mail": mail}),) if mail else ()
        answers = yield from ask_last(*_moving(decision), *_counting(decision), then=then)
        late = {(name, one) for name, one in answers[-1].rows} if mail else set[tuple[str, str]]()
    rows = [(name, one, LATE if (name, one) in late else COUNTED) for name, one, *_ in decision.mail]
    rows += [(name, one, LETTER) for name, one, *_ in decision.letters]
    return Answer(rows, len(rows))


def _moving(decision: Decision) -> Iterator[Ask]:
    """In the order of locks: addresses, interests, deliveries, messages."""
    _, takes, copies, mail, letters, given, dropped, numbers, marks, holds = decision
    yield from _locking(numbers, [] if marks is None else marks.addresses)
    # One interest of a listener is held, so that no copy goes to a life that is purged meanwhile.
    listening = {(name, life, address): one for name, life, one, _, _, address, _ in copies}
    if held := sorted((name, life, one, address) for (name, life, address), one in listening.items()):
        yield Ask("hold_interests", {"interests": held, "count": len(held)})
    if takes:
        ended = [(name, life, one, address, since) for name, life, one, _, _, address, _, since in takes]
        yield Ask("end_interests", {"interests": ended}, len(ended))
    if holds:
        yield Ask("hold_places", {"places": holds})
    if marks is not None and marks.interests:
        yield Ask("mark_interests", {"interests": marks.interests, "until": marks.until})
    if mail:
        yield Ask("give_mail", {"mail": mail})
        yield Ask("mark_mail", {"mail": [row[:2] for row in mail]})
    if letters:
        yield Ask("give_letters", {"letters": letters})
    if given:
        yield Ask("end_messages", {"messages": given}, len(given))
    if dropped:
        yield Ask("drop_messages", {"messages": dropped})
    if marks is not None and marks.messages:
        yield Ask("mark_messages", {"messages": marks.messages})


def _locking(numbers: list[Row], marked: list[tuple[str, int, int]]) -> Iterator[Ask]:
    """Lock the addresses that change."""
    if locked := sorted({row[:1] for row in (*numbers, *marked)}):
        yield Ask("lock_addresses", {"addresses": locked})
    if numbers:
        yield Ask("number_addresses", {"numbers": numbers}, len(numbers))
    if marked:
        yield Ask("mark_addresses", {"addresses": marked}, len(marked))


def _counting(decision: Decision) -> Iterator[Ask]:
    """Count the mail of receivers that are not locked. `hold_free` has removed its marks."""
    mail = sorted({(name, decision.owners[name].life, one) for name, one, *_ in decision.mail})
    if not mail:
        return
    yield Ask("hold_free", {"mail": mail})
    counts = Counter(name for name, _, _ in mail)
    last = {name: one for name, _, one in mail}
    yield Ask("signal_free", {"mail": [(name, last[name], count) for name, count in sorted(counts.items())]})
    yield Ask("number_free", {"mail": [(name, one) for name, _, one in mail]})


def _register_interest(values: Values) -> Operation[Answer]:
    """Check and write in one packet, while the row of the address is locked."""
    kept: list[tuple[str, str]] = []
    if copies := values["kind"] == InterestKind.COPY:
        # What the first interest in copies discards, read without locks: see `routing.sql`.
        (found,) = yield from look(Ask("kept_ids", values))
        kept = [(values["address"], message_id) for (message_id,) in found.rows]
    first = range(0, len(kept), outbox.IDS_AT_ONCE)
    answers = yield from ask_last(
        Ask("lock_addresses", {"addresses": [(values["address"],)]}),
        Ask("judge_interest", {**values, "other": values["other"] or "", "copies": copies}),
        Ask("interest_put", values),
        *(Ask("discard_messages", {"messages": kept[one : one + outbox.IDS_AT_ONCE]}) for one in first),
        then=(Ask("judged", {}),),
    )
    ((finding,),) = answers[-1].rows
    return Answer([(finding != "gone", finding in ("first", "free"))], 1)


def register_interest_in_rounds(values: Values) -> Operation[Answer]:
    """Where a variable holds nothing that tables say: check, and then write, in one transaction."""
    kept: list[tuple[str, str]] = []
    if copies := values["kind"] == InterestKind.COPY:
        (found,) = yield from look(Ask("kept_ids", values))
        kept = [(values["address"], message_id) for (message_id,) in found.rows]
    lock = Ask("lock_addresses", {"addresses": [(values["address"],)]})
    judge = Ask("judge_interest", {**values, "other": values["other"] or "", "copies": copies})
    _, judged = yield from ask_all(lock, judge)
    ((finding,),) = judged.rows
    first = range(0, len(kept) if finding == "first" else 0, outbox.IDS_AT_ONCE)
    discard = [Ask("discard_messages", {"messages": kept[one : one + outbox.IDS_AT_ONCE]}) for one in first]
    if finding in ("first", "free"):
        yield from ask_last(Ask("interest_put", values), *discard)
    return Answer([(finding != "gone", finding in ("first", "free"))], 1)


def _kept(values: Values) -> Operation[Answer]:
    """A page with all places of its last message."""
    page = yield from ask("kept_page", **values)
    if len(page.rows) < values["limit"] or not page.rows:
        return page
    last = page.rows[-1][0]
    alike = yield from ask("kept_alike", message_id=last)
    rows = [*(row for row in page.rows if row[0] != last), *alike.rows]
    return Answer(rows, len(rows))


def _expire(values: Values) -> Operation[Answer]:
    old, unread = yield from ask_all(Ask("find_expired", values), Ask("find_unread", values))
    ends = [Ask("end_messages", {"messages": sorted(map(tuple, old.rows))})] if old.rows else []
    ends += [Ask("end_letters", {"letters": sorted(map(tuple, unread.rows))})] if unread.rows else []
    gone = yield from ask_all(*ends)
    return Answer([(sum(one.touched for one in gone),)], 1)


def _expire_addresses(values: Values) -> Operation[Answer]:
    unused = yield from ask("find_unused", **values)
    if not unused.rows:
        return unused
    return (yield from ask("end_addresses", addresses=sorted(map(tuple, unused.rows)), before=values["before"]))


def _expire_notes(values: Values) -> Operation[Answer]:
    old = yield from ask("find_notes", **values)
    if not old.rows:
        return old
    return (yield from ask("end_interests", interests=sorted(map(tuple, old.rows))))


OWN: Own = {
    "route_due": _due,
    "lane_due": _due,
    "route_write": _write,
    "route_lock": nothing,  # of the packet that registers
    "register_interest": _register_interest,
    "give_back": routing.give_back_in_parts("hold_mail", "return_mail", "unmark_mail", "drop_mail"),
    "take_back": routing.return_in_parts("hold_mail", "return_mail", "unmark_mail", "drop_mail"),
    "letters_back": routing.letters_back_in_parts("hold_letters", "return_letters", "drop_letters"),
    "kept": _kept,
    "expire": _expire,
    "expire_addresses": _expire_addresses,
    "expire_notes": _expire_notes,
}
