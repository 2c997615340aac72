"""Asks hooks for headers before a send, and reports the send to them once it is committed.

An app without such hooks has no announcer, and no cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy._headers import brought, headers_of
from romancy._logs import about, get_logger
from romancy.hooks import Hook, Sending

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from romancy.core import Message
    from romancy.hooks import Sender

__all__ = ["Announcer", "given", "kind_of_sending", "say_hook_failed"]

logger = get_logger("romancy.engine")


class Announcer:
    """The hooks that are asked for headers or want reports of sends."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = hooks

    @classmethod
    def of(cls, hooks: Iterable[Hook]) -> Announcer | None:
        """The announcer for the hooks that define these methods; None if no hook does."""
        wanting = [hook for hook in hooks if type(hook).sending is not Hook.sending or type(hook).sent is not Hook.sent]
        return cls(wanting) if wanting else None

    def sending(
        self, kind: Any, name: str, to: str | None, headers: Mapping[str, str], sender: Sender | None = None
    ) -> Sending:
        """The sendings that are about to be written, with all headers."""
        carried = dict(headers)
        sending = Sending(kind=kind, name=name, to=to, headers=carried, sender=sender)
        for hook in self._hooks:
            try:
                added = hook.sending(sending)
                if added:
                    carried.update(headers_of({**carried, **added}, f"headers of hook {type(hook).__qualname__}"))
            except Exception as error:  # noqa: BLE001 - an error of a hook affects nothing else
                say_hook_failed(hook, f"a {kind} of {name}", error, to)
        return sending

    def sent(self, sendings: Iterable[Sending]) -> None:
        """Report these sendings to hooks: the database has them."""
        for sending in sendings:
            for hook in self._hooks:
                try:
                    hook.sent(sending)
                except Exception as error:  # noqa: BLE001 - as above
                    say_hook_failed(hook, f"a {sending.kind} of {sending.name}", error, sending.to)


def given(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The caller's headers, together with those that every sending from this context carries."""
    beside = brought.get()
    return {**beside, **headers} if beside else headers


def kind_of_sending(message: Message, to: str | None) -> str:
    """The kind of a sending, as hooks read it."""
    if message.topic.kind == "channel":
        return "message"
    return "send" if to is None else "signal"


def say_hook_failed(hook: Hook, what: str, error: Exception, instance_id: str | None, concerned: Any = None) -> None:
    """Log the exception of a hook."""
    fields = (
        {"romancy_instance_id": instance_id}
        if concerned is None
        else about(concerned, getattr(concerned, "activity_id", None), getattr(concerned, "attempt", None))
    )
    of = "" if instance_id is None else f" of instance {instance_id}"
    logger.error("hook %s failed at %s%s", type(hook).__qualname__, what, of, exc_info=error, extra=fields)
