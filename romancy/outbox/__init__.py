"""Events for the outside: the relay that takes them from the outbox, and the senders that it gives them to.

What a workflow or an activity publishes is committed with its work, as a row of the outbox. A relay claims the rows,
gives each to a sender, and records what became of it. Nothing is lost between the two, whatever crashes. An event may
be sent more than once, always with the same id. Events with the same key are sent in order.
"""

from __future__ import annotations

from romancy.outbox._event import OutboxEvent
from romancy.outbox._http import HttpSender
from romancy.outbox._relay import Relay
from romancy.outbox._sender import Reject, Retry, Sender

__all__ = ["HttpSender", "OutboxEvent", "Reject", "Relay", "Retry", "Sender"]
