"""Open questions: found, answered and refused, from any process.

An answer is one message, which the database takes once. The log has who has given it.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw

from romancy._microseconds import moment_of
from romancy._sizes import fitting
from romancy.core import (
    MessageAwaited,
    MessageReceived,
    Said,
    Topic,
    WaitCancelled,
    WaitTimedOut,
    said_in,
)
from romancy.engine import rows
from romancy.engine.messages import decode_message
from romancy.engine.questions import FIRST, LAST, Posed, posed_in, question_id
from romancy.errors import (
    CodecError,
    HistoryVersionError,
    InstanceEndedError,
    InstanceNotFoundError,
    QueryError,
    QuestionAnsweredError,
    QuestionNotFoundError,
    SerializationError,
)
from romancy.messages.requests import Requests
from romancy.question import Question, QuestionPage, message_to, read_token, token_of
from romancy.retry import whole_number
from romancy.serialization import dumps, misfit
from romancy.storage.any_store import lying_in
from romancy.storage.limits import check_id, check_text
from romancy.storage.lookups import Place
from romancy.storage.records import Delivered
from romancy.storage.routing import QUESTIONS, address_of_questions

if TYPE_CHECKING:
    from romancy.core import LogEvent, Message
    from romancy.storage.lookups import Asked
    from romancy.storage.protocol import Store

__all__ = ["Questions", "open_question", "page_of_questions"]

_MOST: Final = 200
"""Questions of a page."""
_LOOKED_AT: Final = 2_000
"""Questions that one call reads at most, if it wants those of one workflow."""
_MOST_LYING: Final = 2_000
_LONGEST_REASON: Final = 16 * 1024


class Questions(Requests):
    """Finds and answers what workflows ask people."""

    async def questions(
        self,
        *,
        to: str | None = None,
        workflow_name: str | None = None,
        instance_id: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> QuestionPage:
        """A page of the open questions: those to nobody in particular first, and the oldest first of those to one.

        `to`, `workflow_name` and `instance_id` are whole names. The next page begins at the `next_cursor` of this one.
        A page of one workflow may be short, and even empty, while there is a next one.
        """
        return await page_of_questions(
            self._access.lists().store,
            to=to,
            workflow_name=workflow_name,
            instance_id=instance_id,
            cursor=cursor,
            limit=limit,
        )

    async def answer(self, token: str, data: object, *, by: str | None = None, session: object = None) -> None:
        """Answer an open question. The answer is durable when this returns; with `session=`, by your own commit.

        Of all answers, and of what else ends a question, the first one counts. Raises QuestionAnsweredError if the
        question is not open any more, SerializationError for data that do not fit its schema, and QuestionNotFoundError
        for a false token. `by` says who answers, as the log has it.
        """
        place = read_token(token)
        store, posed = await self._open_question(place, "answer")
        what = f"answer to the question {posed.name!r} of instance {place[0]}"
        raw = fitting(dumps(data, what), what, self._access.stored_size)
        wrong = misfit(msgspec.json.decode(posed.asks.schema, type=dict[str, Any]), msgspec.json.decode(raw))
        if wrong is not None:
            raise SerializationError(f"{what}: {wrong}")
        await self._say_to(store, place, posed, Said(data=Raw(raw), by=_named(by)), session)

    async def refuse(self, token: str, reason: str = "", *, by: str | None = None, session: object = None) -> None:
        """Refuse to answer an open question: the workflow gets RefusedError. Else as `answer`."""
        place = read_token(token)
        check_text(reason, "the reason")
        if len(reason.encode()) > _LONGEST_REASON:
            raise SerializationError(f"the reason has more than {_LONGEST_REASON:,} bytes")
        store, posed = await self._open_question(place, "refuse")
        await self._say_to(store, place, posed, Said("refusal", reason=reason, by=_named(by)), session)

    async def _open_question(self, place: tuple[str, str], call: str) -> tuple[Store, Posed]:
        """The open question. Raises QuestionAnsweredError, QuestionNotFoundError and CodecError."""
        store = self._access.opened(call)
        return store, posed_in((await _open(store, *place)).where)

    async def _say_to(self, store: Store, place: tuple[str, str], posed: Posed, said: Said, session: object) -> None:
        """Say it, and once more each time that what was said before it has been put aside meanwhile."""
        while not await self._is_first(place, posed, said, session):
            posed = await _posed_again(store, place, posed)

    async def _is_first(self, place: tuple[str, str], posed: Posed, said: Said, session: object) -> bool:
        instance_id, secret = place
        message = message_to(Topic(posed.name, secret, "question"), posed.asks, said)
        try:
            _, answer = await self._mailer.send(message, instance_id, session, what="answer")
        except (InstanceEndedError, InstanceNotFoundError):
            return False
        return answer is Delivered.ACCEPTED


async def page_of_questions(
    store: Store,
    *,
    to: str | None = None,
    workflow_name: str | None = None,
    instance_id: str | None = None,
    cursor: str | None = None,
    limit: int,
) -> QuestionPage:
    """A page of the open questions in a store, as `app.questions` has it."""
    for given, what in ((to, "to="), (workflow_name, "workflow_name="), (instance_id, "instance_id=")):
        if given is not None:
            check_id(given, what)
    if whole_number(limit, "questions: limit=") > _MOST:
        raise QueryError(f"questions: limit= is at most {_MOST}, not {limit}")
    return await _Search(store, to, workflow_name, instance_id).page(_place_in(cursor), limit)


async def open_question(store: Store, token: str) -> Question:
    """The open question with this token. Raises QuestionAnsweredError and QuestionNotFoundError."""
    return _question(await _open(store, *read_token(token)))


async def _open(store: Store, instance_id: str, secret: str) -> Asked:
    id = question_id(secret)
    found = await store.services.lookups.questions_of(instance_id, id, id, 1)
    if not found:
        raise await _why_not(store, instance_id, secret)
    return found[0]


class _Search:
    """A search for open questions."""

    def __init__(self, store: Store, to: str | None, workflow_name: str | None, instance_id: str | None) -> None:
        self._lookups = store.services.lookups
        self._to = to
        self._workflow_name = workflow_name
        self._instance_id = instance_id
        self._first, self._below = QUESTIONS
        if to is not None:
            self._first = address_of_questions(to)
            self._below = self._first  # nothing is behind this address and before it

    async def page(self, after: Place | None, limit: int) -> QuestionPage:
        found: list[Question] = []
        place, looked = after or Place(self._first), 0
        while len(found) < limit and looked < _LOOKED_AT:
            wanted = limit - len(found) if self._wants_all else _MOST
            read = await self._read(place, wanted)
            for each in read:
                place, looked = each.place, looked + 1
                if self._wants(each):
                    found.append(_question(each))
                if len(found) == limit:
                    break
            else:
                if len(read) < wanted:
                    return QuestionPage(questions=found, next_cursor=None)
        return QuestionPage(questions=found, next_cursor=_cursor_at(place))

    @property
    def _wants_all(self) -> bool:
        return self._workflow_name is None and (self._instance_id is None or self._to is None)

    async def _read(self, after: Place, limit: int) -> list[Asked]:
        if self._instance_id is None:
            return await self._lookups.questions(after, self._below, limit)
        first = FIRST if not after.interest_id else f"{after.interest_id} "  # no id of a question is between the two
        return await self._lookups.questions_of(self._instance_id, first, LAST, limit)

    def _wants(self, asked: Asked) -> bool:
        if self._workflow_name not in (None, asked.workflow_name):
            return False
        return self._to is None or asked.place.address == self._first


def _question(asked: Asked) -> Question:
    place = asked.place
    try:
        posed, sealed = posed_in(asked.where), False
    except CodecError:
        posed, sealed = None, True
    asks = None if posed is None else posed.asks
    return Question(
        token=token_of(place.owner, place.interest_id.removeprefix(FIRST)),
        instance_id=place.owner,
        workflow_name=asked.workflow_name,
        name="" if posed is None else posed.name,
        question="" if asks is None else asks.question,
        schema={} if asks is None else msgspec.json.decode(asks.schema, type=dict[str, Any]),
        to=place.address.removeprefix(address_of_questions(None)) or None,
        since=moment_of(place.at),
        due=None if asks is None or asks.due is None else moment_of(asks.due),
        misfit="" if asks is None else asks.misfit,
        sealed=sealed,
    )


def _named(by: str | None) -> str | None:
    if by is not None:
        check_id(by, "by=")
    return by


# ── where a page ends ───────────────────────────────────────────────────────────────────────────────────────────────


def _cursor_at(place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _place_in(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    check_text(cursor, "cursor=")
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(raw, type=Place)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise QueryError("cursor= is the next_cursor of a page of questions, and this is none") from None


# ── what became of a question ───────────────────────────────────────────────────────────────────────────────────────


class _Fate:
    """What the log of its instance says of one question."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._waits: set[str] = set()
        self.name = ""
        self.how = ""
        self.said: Said | None = None
        self.at: int | None = None

    def take(self, event: LogEvent, at: int) -> None:
        if isinstance(event, MessageAwaited):
            if event.topic.kind == "question" and event.topic.key == self._secret:
                self._waits.add(event.id)
                self.name, self.how, self.said = event.topic.name, "", None
        elif isinstance(event, (MessageReceived, WaitTimedOut, WaitCancelled)) and event.id in self._waits:
            self._waits.discard(event.id)
            self.at = at
            if isinstance(event, MessageReceived):
                self.hear(said_in(event.message))
            else:
                self.how = "expired" if isinstance(event, WaitTimedOut) else "withdrawn"

    def hear(self, said: Said) -> None:
        self.said, self.how = said, {"answer": "answered", "refusal": "refused"}.get(said.how, "expired")

    def is_about(self, message: Message) -> bool:
        return message.topic.kind == "question" and message.topic.key == self._secret


async def _posed_again(store: Store, place: tuple[str, str], before: Posed) -> Posed:
    """The question, if it is open again: what was said to it was put aside. Raises as `_open` if it is not."""
    why_not = await _why_not(store, *place)
    posed = posed_in((await _open(store, *place)).where)  # after the question why, so that the two agree
    if posed.asks.aside == before.asks.aside:
        raise why_not
    return posed


async def _why_not(store: Store, instance_id: str, secret: str) -> QuestionAnsweredError | QuestionNotFoundError:
    """The error for a question that is not open any more."""
    fate = await _fate_in_log(store, instance_id, secret)
    if not fate.name:
        return QuestionNotFoundError(f"instance {instance_id!r} asks nothing with this token, as far as its log goes")
    if not fate.how:
        await _look_in_inbox(store, instance_id, fate)
    if not fate.how:  # it may have been received since
        fate = await _fate_in_log(store, instance_id, secret)
    how, said = fate.how or "withdrawn", fate.said
    by = None if said is None else said.by
    who = "" if by is None else f" by {by}"
    words = {"answered": f"is answered{who}", "refused": f"was refused{who}", "expired": "is too old: its time is over"}
    return QuestionAnsweredError(
        f"the question {fate.name!r} of instance {instance_id} {words.get(how, 'is not asked any more')}; "
        "this answer has no effect",
        instance_id=instance_id,
        question=fate.name,
        how=how,
        by=by,
        at=None if fate.at is None else moment_of(fate.at),
    )


async def _fate_in_log(store: Store, instance_id: str, secret: str) -> _Fate:
    fate = _Fate(secret)
    try:
        async for row, commit in rows(store, instance_id, after=0):
            for event in commit:
                fate.take(event, row.at)
    except InstanceNotFoundError:
        return _Fate(secret)
    return fate


async def _look_in_inbox(store: Store, instance_id: str, fate: _Fate) -> None:
    """Look for what the database has taken and no worker has received yet."""
    async for each in lying_in(store, instance_id, most=_MOST_LYING):
        try:
            message: Any = decode_message(each.row.body)
        except (CodecError, HistoryVersionError):
            continue
        if getattr(message, "topic", None) is not None and fate.is_about(message):
            fate.hear(said_in(message))
            fate.at = each.row.at
