"""Matching of kept mail and waits: the result of comparing each message with each wait, at much lower cost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from romancy.core import NULL, Message, MessageAwaited, Mode, Topic, mode_of_wait
from romancy.engine.inbox import Inbox, Mail
from romancy.engine.messages import CancelMessage
from romancy.storage.query import encode_where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SMALL, LARGE = Raw(b'{"size":1}'), Raw(b'{"size":9}')
ONLY_LARGE = Raw(encode_where({"size": 9}) or b"")
MANY = 8_000
FEWER = 4_000
LINES_FOR_ONE = 250
"""Most lines that may run for one message, from its arrival to the end of its wait."""


class Reference:
    """The same rule, by comparing everything again and again."""

    def __init__(self) -> None:
        self.mail: list[Mail] = []
        self.waits: list[MessageAwaited] = []

    def match(self) -> list[tuple[str, str]]:
        in_turn = any(wait.in_turn for wait in self.waits)
        return self._match_in_turn() if in_turn and len(self.mail) > 1 else self._match(self.mail)

    def _match_in_turn(self) -> list[tuple[str, str]]:
        found = self._match([mail for mail in self.mail if not isinstance(mail.message, Message)])
        held: list[MessageAwaited] = []
        for mail in sorted(self.mail, key=lambda mail: mail.number):
            wait_id = self._fitting(mail)
            if wait_id is None:
                continue
            earlier = [one for one in self.mail if one.number < mail.number]
            if any(fits(one, wait) for one in earlier for wait in held):
                break
            held += [replace(wait, where=NULL) for wait in self.waits if wait.id == wait_id and wait.in_turn]
            found += self._match([mail])
        return found

    def _match(self, candidates: Iterable[Mail]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for mail in sorted(candidates, key=lambda mail: mail.number):
            ended = "" if isinstance(mail.message, CancelMessage) else self._fitting(mail)
            if ended is not None:
                self.mail.remove(mail)
                self.waits = [wait for wait in self.waits if wait.id != ended]
                found.append((mail.delivery_id, ended))
        return found

    def _fitting(self, mail: Mail) -> str | None:
        own = [wait.id for wait in self.waits if wait.id == mail.interest and fits(mail, replace(wait, where=NULL))]
        fitting = [wait.id for wait in self.waits if fits(mail, wait)]
        return next(iter(own + fitting), None)  # it was taken for its own wait

    def strays(self) -> set[str]:
        taken = [mail for mail in self.mail if mail.interest is not None]
        return {mail.delivery_id for mail in taken if self._fitting(mail) is None}

    def copies_of(self, topic: Topic) -> tuple[str, ...]:
        copies = (mail for mail in self.mail if mail.address is not None and mail.interest is None)
        return tuple(sorted(mail.delivery_id for mail in copies if of_type(mail) == (topic.kind, topic.name)))

    def has_for(self, wait: MessageAwaited) -> bool:
        return any(isinstance(mail.message, Message) and fits(mail, wait) for mail in self.mail)

    def forget(self, delivery_ids: Iterable[str]) -> None:
        forgotten = set(delivery_ids)
        self.mail = [mail for mail in self.mail if mail.delivery_id not in forgotten]


def fits(mail: Mail, wait: MessageAwaited) -> bool:
    message = mail.message
    assert isinstance(message, Message)
    topic, sent_to_it = message.topic, mail.address is None
    if (topic.kind, topic.name) != (wait.topic.kind, wait.topic.name):
        return False
    if wait.where != NULL and message.data != LARGE:
        return False
    if topic.kind == "channel":
        return sent_to_it == (wait.mode == "direct")
    if wait.topic.key is None:
        return mail.interest is None
    return wait.topic.key == topic.key and (sent_to_it or mail.interest is not None)


def of_type(mail: Mail) -> tuple[str, str] | None:
    message = mail.message
    return (message.topic.kind, message.topic.name) if isinstance(message, Message) else None


def about(topic: Topic, data: Raw = SMALL) -> Message:
    return Message(topic, data)


def event(name: str, key: str | None = None) -> Message:
    return about(Topic(name, key))


def waiting(id: str, topic: Topic) -> MessageAwaited:
    return MessageAwaited(id, topic, mode_of_wait(topic))


EVENTS = st.builds(Topic, st.sampled_from(["a", "b"]), st.sampled_from([None, "x", "y"]))
TOPICS = st.one_of(EVENTS, st.just(Topic("a", kind="channel")))
NOWHERE = Topic("")
MODES: list[Mode] = ["broadcast", "competing", "direct"]
DATA = st.sampled_from([SMALL, LARGE])
CONDITIONS = st.sampled_from([NULL, NULL, ONLY_LARGE])
ARRIVALS = st.tuples(st.sampled_from(["sent", "copied", "taken", "taken"]), TOPICS, st.just("direct"), DATA)
WAITS = st.tuples(st.sampled_from(["wait", "wait", "in turn", "has"]), TOPICS, st.sampled_from(MODES), CONDITIONS)
ENDS = st.tuples(st.just("unsubscribe"), TOPICS, st.just("direct"), st.just(NULL))
OTHERS = st.tuples(
    st.sampled_from(["cancel", "match", "match", "stop", "again", "again", "strays", "forget"]),
    st.just(NOWHERE), st.just("direct"), st.just(NULL),
)  # fmt: skip


class Both:
    """The inbox and the reference, which take the same steps and must agree."""

    def __init__(self) -> None:
        self.inbox, self.reference = Inbox(), Reference()
        self.received: list[Mail] = []

    def keep(self, mail: Mail) -> None:
        self.inbox.keep(mail)
        self.reference.mail.append(mail)

    def wait(self, wait: MessageAwaited) -> None:
        self.inbox.wait(wait)
        self.reference.waits.append(wait)

    def match(self) -> None:
        found = self.inbox.match()
        assert [(mail.delivery_id, wait_id) for mail, wait_id in found] == self.reference.match()
        self.received += [mail for mail, _ in found]

    def strays(self) -> None:
        self.match()
        assert {mail.delivery_id for mail in self.inbox.strays()} == self.reference.strays()
        self.reference.forget(self.reference.strays())

    def stop(self) -> None:
        if self.reference.waits:
            self.inbox.stop_waiting(self.reference.waits.pop(0).id)

    def again(self) -> None:
        """What was received came too late for its wait, and is kept for the next one."""
        if self.received:
            self.keep(self.received.pop())

    def forget(self) -> None:
        ids = [mail.delivery_id for mail in self.reference.mail[::2]]
        self.inbox.forget([*ids, "unknown"])
        self.reference.forget(ids)

    def unsubscribe(self, topic: Topic) -> None:
        copies = self.reference.copies_of(topic)
        assert self.inbox.copies_of(topic) == copies
        assert tuple(mail.delivery_id for mail in self.inbox.take_copies(topic)) == copies
        self.reference.forget(copies)

    def take(self, kind: str, id: str, topic: Topic, mode: Mode, raw: Raw) -> None:
        if kind in ("sent", "copied", "taken", "cancel"):
            self.keep(arrived(kind, id, about(topic, raw), self.inbox.read + 1, self.reference.waits))
        elif kind in ("wait", "in turn", "has"):
            mode = mode if topic.kind == "channel" else mode_of_wait(topic)
            wait = MessageAwaited(id, topic, mode, where=raw, in_turn=kind == "in turn")
            if kind != "has":
                self.wait(wait)
            else:
                assert self.inbox.has_for(wait) == self.reference.has_for(wait)
        elif kind == "unsubscribe":
            self.unsubscribe(replace(topic, key=None))
        else:
            getattr(self, kind)()


@given(st.lists(st.one_of(ARRIVALS, WAITS, ENDS, OTHERS), max_size=60))
def test_what_fits_is_found_as_by_looking_at_everything(steps: list[tuple[str, Topic, Mode, Raw]]) -> None:
    both = Both()
    for place, (kind, topic, mode, raw) in enumerate(steps):
        both.take(kind, f"{place:03}", topic, mode, raw)
        assert {mail.delivery_id for mail in both.inbox.mail()} == {mail.delivery_id for mail in both.reference.mail}
    both.match()


def test_a_message_waits_for_those_before_it_whose_handler_is_called_again() -> None:
    both = Both()
    both.wait(MessageAwaited("add:1", Topic("add"), in_turn=True))
    both.wait(MessageAwaited("stop:1", Topic("stop"), in_turn=True))
    for number, name in enumerate(("add", "add", "stop")):
        both.keep(arrived("sent", f"m{number}", event(name), number + 1, []))

    found = [[mail.delivery_id for mail, _ in both.inbox.match()]]
    both.inbox.wait(MessageAwaited("add:2", Topic("add"), in_turn=True))
    found.append([mail.delivery_id for mail, _ in both.inbox.match()])

    assert found == [["m0"], ["m1", "m2"]]


def test_a_message_that_was_held_is_found_when_the_others_are_handled_no_more() -> None:
    both = Both()
    both.wait(MessageAwaited("add:1", Topic("add"), in_turn=True))
    both.wait(MessageAwaited("other:1", Topic("other")))
    both.wait(MessageAwaited("large:1", Topic("large"), where=ONLY_LARGE))
    for number, message in enumerate((event("add"), event("add"), event("other"), about(Topic("large"), LARGE))):
        both.keep(arrived("sent", f"m{number}", message, number + 1, []))

    found = [[mail.delivery_id for mail, _ in both.inbox.match()] for _ in range(2)]

    assert found == [["m0"], ["m2", "m3"]]


def test_a_message_that_was_taken_and_is_held_in_turn_is_no_stray() -> None:
    both = Both()
    both.wait(MessageAwaited("add:1", Topic("add"), in_turn=True))
    both.wait(MessageAwaited("drop:1", Topic("drop", "x"), mode_of_wait(Topic("drop", "x")), in_turn=True))
    for number, kind in enumerate(("sent", "sent", "taken")):
        message = event("drop", "x") if kind == "taken" else event("add")
        both.keep(arrived(kind, f"m{number}", message, number + 1, both.reference.waits))

    both.match()

    assert both.inbox.strays() == []
    both.wait(MessageAwaited("add:2", Topic("add"), in_turn=True))
    assert [mail.delivery_id for mail, _ in both.inbox.match()] == ["m1", "m2"]


def test_what_came_back_is_found_before_what_came_later() -> None:
    """Both need no wait, and the run takes other messages in turn."""
    inbox = Inbox()
    first, later = (Mail(id, 0, CancelMessage(), number) for number, id in enumerate(("first", "later"), 1))
    inbox.wait(replace(waiting("w", Topic("a")), in_turn=True))
    for mail in (Mail("other", 0, event("b"), 3), later, first):
        inbox.keep(mail)

    assert [mail.delivery_id for mail, _ in inbox.match()] == ["first", "later"]


def test_a_copy_that_came_back_is_named_once() -> None:
    """It was received out of turn, by its data, and its wait was given up in the same step."""
    inbox = Inbox()
    for number, data in enumerate([SMALL, LARGE], start=1):
        inbox.keep(Mail(str(number), 0, about(Topic("a"), data), number, address="there"))
    assert inbox.match() == []
    inbox.wait(replace(waiting("w", Topic("a")), where=ONLY_LARGE))
    ((large, _),) = inbox.match()
    inbox.keep(large)
    assert inbox.match() == []

    assert inbox.copies_of(Topic("a")) == ("1", "2")
    assert [mail.delivery_id for mail in inbox.take_copies(Topic("a"))] == ["1", "2"]


def arrived(kind: str, id: str, message: Message, number: int, waits: list[MessageAwaited]) -> Mail:
    """A message of this kind. One that was taken, was taken for the newest wait that can ask for it."""
    if kind == "cancel":
        return Mail(id, 0, CancelMessage(), number)
    if kind == "sent":
        return Mail(id, 0, message, number)
    asking = [wait.id for wait in waits if wait.topic == message.topic and wait.mode == "competing"]
    taken_for = asking[-1] if kind == "taken" and asking else None
    return Mail(id, 0, message, number, address="there", interest=taken_for)


def test_much_mail_that_is_read_one_by_one_costs_what_each_costs() -> None:
    def read() -> None:
        inbox = Inbox()
        for number in range(1, MANY + 1):
            inbox.keep(Mail(f"{number:06}", 0, event("page"), number))
        for number in range(MANY):
            inbox.wait(waiting(str(number), Topic("page")))
            assert len(inbox.match()) == 1

    assert lines_run_by(read) < MANY * LINES_FOR_ONE


def test_much_mail_that_is_read_in_turn_costs_what_each_costs_beside_a_wait_with_conditions() -> None:
    def read() -> None:
        inbox = Inbox()
        inbox.wait(replace(waiting("large", Topic("other")), where=ONLY_LARGE))
        for number in range(1, FEWER + 1):
            inbox.keep(Mail(f"{number:06}", 0, event("other" if number % 2 else "page"), number))
        for number in range(FEWER // 2):
            inbox.wait(replace(waiting(str(number), Topic("page")), in_turn=True))
            assert len(inbox.match()) == 1

    assert lines_run_by(read) < FEWER * LINES_FOR_ONE


def test_much_mail_that_nobody_wants_is_not_looked_at() -> None:
    def read() -> None:
        inbox = Inbox()
        for number in range(1, FEWER + 1):
            inbox.keep(Mail(f"{number:06}", 0, event("page", f"k{number}"), number))
        for number in range(FEWER):
            inbox.wait(waiting(str(number), Topic("page", "nobody's")))
            assert not inbox.match()
            inbox.stop_waiting(str(number))

    assert lines_run_by(read) < FEWER * LINES_FOR_ONE


def test_many_waits_each_with_its_key_cost_what_each_costs() -> None:
    def read() -> None:
        inbox = Inbox()
        for number in range(FEWER):
            inbox.wait(waiting(str(number), Topic("page", f"k{number}")))
        for number in reversed(range(FEWER)):
            inbox.keep(Mail(f"{number:06}", 0, event("page", f"k{number}"), inbox.read + 1))
            assert [wait_id for _, wait_id in inbox.match()] == [str(number)]

    assert lines_run_by(read) < FEWER * LINES_FOR_ONE


def lines_run_by(work: Callable[[], None]) -> int:
    """Count the lines that run: the number is the same on every machine. It stops when there are far too many."""
    lines, enough = 0, 2 * MANY * LINES_FOR_ONE
    before = sys.gettrace()

    def count(frame: object, event: str, argument: object) -> object:
        nonlocal lines
        lines += event == "line"
        assert lines < enough
        return count

    sys.settrace(count)  # type: ignore[arg-type]
    try:
        work()
    finally:
        sys.settrace(before)
    return lines
