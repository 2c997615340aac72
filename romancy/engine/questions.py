"""Questions to people: how an open one stands in the database.

An open question is an interest of its instance, by which people find it. Its `where` has what they are to read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from romancy.core import Inquiry
from romancy.serialization import refuse_sealed
from romancy.storage.routing import Interest, InterestKind, address_of_questions

if TYPE_CHECKING:
    from romancy.core import MessageAwaited

__all__ = ["FIRST", "LAST", "Posed", "interest_of_question", "posed_in", "question_id"]

FIRST: Final = "ask/"
"""The ids of the interests of questions begin with this."""
LAST: Final = "ask0"


class Posed(Struct, frozen=True, omit_defaults=True):
    """A question as it stands in the database."""

    name: str
    asks: Inquiry


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Posed)


def question_id(secret: str) -> str:
    """The id of the interest of the question with this secret."""
    return f"{FIRST}{secret}"


def interest_of_question(wait: MessageAwaited, asks: Inquiry) -> Interest:
    """The interest of a question."""
    return Interest(
        interest_id=question_id(wait.topic.key or ""),
        address=address_of_questions(asks.to),
        kind=InterestKind.MEMBER,
        where=_encoder.encode(Posed(wait.topic.name, asks)),
    )


def posed_in(where: bytes) -> Posed:
    """The question that an interest stands for. Raises CodecError if it is sealed."""
    refuse_sealed(where, "message", "a question")
    return _decoder.decode(where)
