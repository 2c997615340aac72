"""Matching of kept mail and waits: the result of comparing each message with each wait, at much lower cost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from romancy.core import Message, MessageAwaited, Mode, Topic, mode_of_wait
from romancy.engine.inbox import Inbox, Mail
from romancy.engine.messages import CancelMessage

if TYPE_CHECKING:
    from collections.abc import Callable

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
        found: list[tuple[str, str]] = []
        for mail in sorted(self.mail, key=lambda mail: mail.number):
            ended = "" if isinstance(mail.message, CancelMessage) else self._fitting(mail)
            if ended is not None:
                self.mail.remove(mail)
                self.waits = [wait for wait in self.waits if wait.id != ended]
                found.append((mail.delivery_id, ended))
        return found

    def _fitting(self, mail: Mail) -> str | None:
        fitting = [wait.id for wait in self.waits if fits(mail, wait)]
        if mail.interest in fitting:
            return mail.interest  # it was taken for this wait
        return fitting[0] if fitting else None


def fits(mail: Mail, wait: MessageAwaited) -> bool:
    message = mail.message
    assert isinstance(message, Message)
    topic, sent_to_it = message.topic, mail.address is None
    if (topic.kind, topic.name) != (wait.topic.kind, wait.topic.name):
        return False
    if topic.kind == "channel":
        return sent_to_it == (wait.mode == "direct")
    if wait.topic.key is None:
        return mail.interest is None
    return wait.topic.key == topic.key and (sent_to_it or mail.interest is not None)


def about(topic: Topic) -> Message:
    return Message(topic, Raw(b"1"))


def event(name: str, key: str | None = None) -> Message:
    return about(Topic(name, key))


def waiting(id: str, topic: Topic) -> MessageAwaited:
    return MessageAwaited(id, topic, mode_of_wait(topic))


EVENTS = st.builds(Topic, st.sampled_from(["a", "b"]), st.sampled_from([None, "x", "y"]))
TOPICS = st.one_of(EVENTS, st.just(Topic("a", kind="channel")))
NOWHERE = Topic("")
MODES: list[Mode] = ["broadcast", "competing", "direct"]
STEPS = st.one_of(
    st.tuples(st.sampled_from(["sent", "copied", "taken"]), TOPICS, st.just("direct")),
    st.tuples(st.just("wait"), TOPICS, st.sampled_from(MODES)),
    st.just(("cancel", NOWHERE, "direct")),
    st.just(("match", NOWHERE, "direct")),
    st.just(("stop", NOWHERE, "direct")),
    st.just(("again", NOWHERE, "direct")),
)


@given(st.lists(STEPS, max_size=60))
def test_what_fits_is_found_as_by_looking_at_everything(steps: list[tuple[str, Topic, Mode]]) -> None:
    inbox, reference = Inbox(), Reference()
    received: list[Mail] = []
    for place, (kind, topic, mode) in enumerate(steps):
        if kind in ("sent", "copied", "taken", "cancel"):
            mail = arrived(kind, f"{place:03}", topic, inbox.read + 1, reference.waits)
            inbox.keep(mail)
            reference.mail.append(mail)
        elif kind == "wait":
            wait = waiting(str(place), topic)
            if topic.kind == "channel":
                wait = replace(wait, mode=mode)
            inbox.wait(wait)
            reference.waits.append(wait)
        elif kind == "stop" and reference.waits:
            inbox.stop_waiting(reference.waits.pop(0).id)
        elif kind == "again" and received:  # it came too late for its wait, and is kept for the next one
            mail = received.pop()
            inbox.keep(mail)
            reference.mail.append(mail)
        elif kind == "match":
            matched = inbox.match()
            assert [(mail.delivery_id, wait_id) for mail, wait_id in matched] == reference.match()
            received += [mail for mail, _ in matched]
    matched = inbox.match()
    assert [(mail.delivery_id, wait_id) for mail, wait_id in matched] == reference.match()
    assert {mail.delivery_id for mail in inbox.mail()} == {mail.delivery_id for mail in reference.mail}


def arrived(kind: str, id: str, topic: Topic, number: int, waits: list[MessageAwaited]) -> Mail:
    """A message of this kind. One that was taken, was taken for the newest wait that can ask for it."""
    if kind == "cancel":
        return Mail(id, 0, CancelMessage(), number)
    if kind == "sent":
        return Mail(id, 0, about(topic), number)
    asking = [wait.id for wait in waits if wait.topic == topic and wait.mode == "competing"]
    taken_for = asking[-1] if kind == "taken" and asking else None
    return Mail(id, 0, about(topic), number, address="there", interest=taken_for)


def test_much_mail_that_is_read_one_by_one_costs_what_each_costs() -> None:
    def read() -> None:
        inbox = Inbox()
        for number in range(1, MANY + 1):
            inbox.keep(Mail(f"{number:06}", 0, event("page"), number))
        for number in range(MANY):
            inbox.wait(waiting(str(number), Topic("page")))
            assert len(inbox.match()) == 1

    assert lines_run_by(read) < MANY * LINES_FOR_ONE


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
