"""Faults of messages: those that are relayed, handled and given back."""

from __future__ import annotations

from typing import Final

from tools.planting.planted import Planted

__all__ = ["PLANTED"]

_ENGINE: Final = "romancy/engine"

PLANTED: Final = (
    Planted(
        name="relay: an event is sent although its claim has run out",
        file="romancy/outbox/running.py",
        text="        if here().seconds() - begun > relay.lease - relay.timeout:",
        replacement="        if False:",
        unseen="a receiver may get an event twice",
    ),
    Planted(
        name="relay: an event whose sending was stopped counts as sent",
        file="romancy/outbox/running.py",
        text="settled = _given_back(entry) if ours else",
        replacement="settled = _settled(entry, OutboxState.PUBLISHED) if ours else",
    ),
    Planted(
        name="handlers: a message overtakes those of another kind",
        file=f"{_ENGINE}/inbox.py",
        text="        elif self._in_turn:\n",
        replacement="        elif self._in_turn < 0:\n",
        shapes="listening",
    ),
    Planted(
        name="returning: a message that was taken anew is passed over while it is given back",
        file=f"{_ENGINE}/instance.py",
        text="                self.lacks_mail, self.signals = True, min(before, signals)\n",
        replacement="",
        unseen="it needs a clock of the database that stands just then; behaviour/events/test_given_back.py holds it",
        mend=True,
    ),
    Planted(
        name="requests: the answer is written in a later commit",
        file="romancy/handling.py",
        text="            error = handler.answer(self._commands, message, task)\n",
        replacement=(
            "            error = None\n"
            "            asyncio.get_running_loop().call_later(0.05, handler.answer, self._commands, message, task)\n"
        ),
        shapes="requests",
    ),
    Planted(
        name="requests: one that was refused stays in the inbox",
        file=f"{_ENGINE}/refusing.py",
        text="            live.give(refusal, mail)\n",
        replacement="            live.give(refusal)\n",
        shapes="requests",
    ),
    Planted(
        name="entities: an error leaves what the method has changed",
        file="romancy/entity.py",
        text="            commands.answer(request, error=describe_exception(error))\n        else:\n",
        replacement=(
            "            commands.answer(request, error=describe_exception(error))\n"
            "            following = self.workflow.encode((key, state, 0.0), {})\n"
            "        else:\n"
        ),
        shapes="entities",
    ),
    Planted(
        name="questions: an answer counts that the database has not taken",
        file="romancy/messages/questions.py",
        text="        return answer is Delivered.ACCEPTED\n",
        replacement="        return answer is not Delivered.CLOSED\n",
        shapes="questions",
    ),
    Planted(
        name="questions: an answer behind one that was put aside is dropped",
        file="romancy/messages/questions.py",
        text="    if posed.asks.aside == before.asks.aside:\n",
        replacement="    if posed.asks.aside >= before.asks.aside:\n",
        shapes="questions",
        mend=True,
    ),
)
