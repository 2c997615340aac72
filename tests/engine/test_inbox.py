"""Matching of kept mail and waits: the result of comparing each message with each wait, at much lower cost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from romancy.core import AwaitEvent
from romancy.engine.inbox import Inbox, Mail
from romancy.engine.messages import CancelMessage, Signal

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
        self.waits: list[AwaitEvent] = []

    def match(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for mail in sorted(self.mail, key=lambda mail: mail.number):
            fitting = "" if isinstance(mail.message, CancelMessage) else self._fitting(mail.message)
            if fitting is not None:
                self.mail.remove(mail)
                self.waits = [wait for wait in self.waits if wait.wait_id != fitting]
                found.append((mail.delivery_id, fitting))
        return found

    def _fitting(self, message: object) -> str | None:
        assert isinstance(message, Signal)
        for wait in self.waits:
            if message.name == wait.name and wait.key in (None, message.key):
                return wait.wait_id
        return None


def signal(name: str, key: str | None = None) -> Signal:
    return Signal(name=name, data=Raw(b"1"), key=key)


NAMES = st.sampled_from(["a", "b"])
KEYS = st.sampled_from([None, "x", "y"])
STEPS = st.one_of(
    st.tuples(st.just("mail"), NAMES, KEYS),
    st.tuples(st.just("wait"), NAMES, KEYS),
    st.just(("cancel", "", None)),
    st.just(("match", "", None)),
    st.just(("stop", "", None)),
    st.just(("again", "", None)),
)


@given(st.lists(STEPS, max_size=60))
def test_what_fits_is_found_as_by_looking_at_everything(steps: list[tuple[str, str, str | None]]) -> None:
    inbox, reference = Inbox(), Reference()
    taken: list[Mail] = []
    for place, (kind, name, key) in enumerate(steps):
        if kind in ("mail", "cancel"):
            message = signal(name, key) if kind == "mail" else CancelMessage()
            mail = Mail(f"{place:03}", 0, message, inbox.read + 1)
            inbox.keep(mail)
            reference.mail.append(mail)
        elif kind == "wait":
            wait = AwaitEvent(str(place), name, key, None)
            inbox.wait(wait)
            reference.waits.append(wait)
        elif kind == "stop" and reference.waits:
            inbox.stop_waiting(reference.waits.pop(0).wait_id)
        elif kind == "again" and taken:  # it came too late for its wait, and is kept for the next one
            mail = taken.pop()
            inbox.keep(mail)
            reference.mail.append(mail)
        elif kind == "match":
            matched = inbox.match()
            assert [(mail.delivery_id, wait_id) for mail, wait_id in matched] == reference.match()
            taken += [mail for mail, _ in matched]
    matched = inbox.match()
    assert [(mail.delivery_id, wait_id) for mail, wait_id in matched] == reference.match()
    assert {mail.delivery_id for mail in inbox.mail()} == {mail.delivery_id for mail in reference.mail}


def test_much_mail_that_is_read_one_by_one_costs_what_each_costs() -> None:
    def read() -> None:
        inbox = Inbox()
        for number in range(1, MANY + 1):
            inbox.keep(Mail(f"{number:06}", 0, signal("page"), number))
        for number in range(MANY):
            inbox.wait(AwaitEvent(str(number), "page", None, None))
            assert len(inbox.match()) == 1

    assert lines_run_by(read) < MANY * LINES_FOR_ONE


def test_much_mail_that_nobody_wants_is_not_looked_at() -> None:
    def read() -> None:
        inbox = Inbox()
        for number in range(1, FEWER + 1):
            inbox.keep(Mail(f"{number:06}", 0, signal("page", f"k{number}"), number))
        for number in range(FEWER):
            inbox.wait(AwaitEvent(str(number), "page", "nobody's", None))
            assert not inbox.match()
            inbox.stop_waiting(str(number))

    assert lines_run_by(read) < FEWER * LINES_FOR_ONE


def test_many_waits_each_with_its_key_cost_what_each_costs() -> None:
    def read() -> None:
        inbox = Inbox()
        for number in range(FEWER):
            inbox.wait(AwaitEvent(str(number), "page", f"k{number}", None))
        for number in reversed(range(FEWER)):
            inbox.keep(Mail(f"{number:06}", 0, signal("page", f"k{number}"), inbox.read + 1))
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
