"""Questions to people: as a body asks them, and as those who answer see them.

An answer, a refusal, and the end of a question's time are messages to its instance. All have one id, which is made of
the secret of the question, so the database takes the first of them. The instance sends the last of these itself.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from romancy.core import Inquiry, Message, Said, Topic, said_in
from romancy.errors import EventTimeoutError, QuestionNotFoundError, RefusedError, SerializationError, UsageError
from romancy.retry import seconds
from romancy.serialization import loads, plan_for, schema_of
from romancy.storage.limits import MAX_WHERE_BYTES, check_id, check_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.core import Commands, MessageReceived
    from romancy.retry import Duration

__all__ = ["Question", "QuestionPage", "asked", "message_to", "read_token", "token_of"]

_MOST: Final = 16 * 1024
"""Bytes of a question."""
_ROOM: Final = 2 * 1024
"""Bytes that may stand beside a question and its schema."""


class Question(Struct, frozen=True, kw_only=True):
    """A question that nobody has answered yet."""

    token: str
    """Anybody who has it can answer, through an app or a page that takes it. Nobody can guess it."""
    instance_id: str
    workflow_name: str
    name: str
    question: str
    """What is asked. Empty if it is sealed."""
    schema: dict[str, Any]
    """The JSON schema of the answer. Empty: everything fits, as far as can be said here."""
    to: str | None
    """Who is asked, in the words of the workflow. None: nobody in particular."""
    since: datetime
    due: datetime | None
    """When its time is over. None: it has no limit."""
    misfit: str = ""
    """Why the last answer was put aside: the workflow could not read it as the type that it wants."""
    sealed: bool = False
    """Whether it was written with a codec that this app does not have."""


class QuestionPage(Struct, frozen=True, kw_only=True):
    """Some of the open questions. Those to one person or group stand together, the oldest first."""

    questions: list[Question]
    next_cursor: str | None
    """Where the next page begins. None: this is the last one."""


def token_of(instance_id: str, secret: str) -> str:
    """The token of a question. It can be a part of a link."""
    return f"{_text(instance_id.encode())}.{secret}"


def read_token(token: str) -> tuple[str, str]:
    """The instance and the secret that a token is made of. Raises QuestionNotFoundError for what is none."""
    check_text(token, "token of the question")
    head, _, secret = token.partition(".")
    instance_id = ""
    try:
        instance_id = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)).decode()
        check_id(instance_id)
        check_id(secret)
    except (ValueError, binascii.Error, UsageError):
        secret = ""
    if not secret or token_of(instance_id, secret) != token:
        raise QuestionNotFoundError("this is no token of a question")
    return instance_id, secret


def message_to(topic: Topic, asks: Inquiry, said: Said) -> Message:
    """The message that says something to a question. Of all those to one asking, the database takes the first."""
    return Message(topic=topic, data=Raw(msgspec.json.encode(said)), id=f"{topic.key}.{asks.aside}")


async def asked(
    commands: Commands,
    question: str,
    model: Any,
    name: str,
    to: str | None,
    timeout: Duration | None,
    *,
    hand_over: Callable[[str], Awaitable[object]] | None = None,
) -> Any:
    """Ask people, and wait for the answer.

    `hand_over` gets the token of the open question. If it returns something, that is the answer, and the question is
    given up. When the time is over, the instance says so to itself, and what the database has taken first counts.
    """
    limit = None if timeout is None else seconds(timeout, "the timeout")
    inquiry = _checked(commands, question, model, name, to)
    wait = commands.inquire(name, inquiry, timeout=limit)
    topic, inquiry = wait.awaited.topic, wait.awaited.asks or inquiry
    answer = None if hand_over is None else await hand_over(token_of(commands.instance_id, topic.key or ""))
    if answer is not None:
        wait.cancel()
        return answer
    is_over = False
    while True:
        try:
            received: MessageReceived = await wait
        except EventTimeoutError:
            if is_over:
                raise EventTimeoutError(f"nobody answered the question {name!r} in time") from None
            is_over = True
            wait = commands.inquire_on(wait)
            _say_that_it_is_over(commands, topic, inquiry)
            continue
        said = said_in(received.message)
        if said.how == "refusal":
            raise _refused(name, said)
        try:
            return loads(said.data, model, f"answer to the question {name!r}")
        except SerializationError as misfit:
            inquiry = replace(inquiry, aside=inquiry.aside + 1, misfit=str(misfit)[:_ROOM])
            again = commands.wait_on(wait, received.message, str(misfit), inquiry)
            if again is None:
                raise
            wait = again
            if is_over:
                _say_that_it_is_over(commands, topic, inquiry)


def _say_that_it_is_over(commands: Commands, topic: Topic, asks: Inquiry) -> None:
    commands.send(message_to(topic, asks, Said("expiry")), commands.instance_id)


def _refused(name: str, said: Said) -> RefusedError:
    who = "" if said.by is None else f" by {said.by}"
    why = f": {said.reason}" if said.reason else ""
    return RefusedError(f"the question {name!r} was refused{who}{why}", question=name, reason=said.reason, by=said.by)


def _checked(commands: Commands, question: str, model: Any, name: str, to: str | None) -> Inquiry:
    """What is asked. Raises UsageError for what nobody can be asked, and RegistrationError for a type of no answer."""
    check_id(name, "name of the question")
    check_text(question, "the question")
    if not question.strip():
        raise UsageError(f"the question {name!r} is empty: say what people are to answer")
    if to is not None:
        check_id(to, "to= of a question")
    if len(question.encode()) > _MOST:
        raise UsageError(f"the question {name!r} has more than {_MOST:,} bytes; store the rest elsewhere, with a link")
    plan_for(model, f"answer to the question {name!r}")
    schema = Raw(msgspec.json.encode(schema_of(model)))
    room = MAX_WHERE_BYTES - 2 * _ROOM
    if commands.stored(msgspec.json.encode((question, schema))) > room and not commands.replaying:
        raise UsageError(f"the question {name!r} and the schema of its answer have more than {room:,} bytes as stored")
    return Inquiry(question, schema, to)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
