"""Who asks, and what they may see and do. The dashboard and HTTP share it, so that one `auth=` can serve both."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from romancy.errors import UsageError

__all__ = ["UNNAMED", "Action", "Visitor"]

Action: TypeAlias = Literal[
    "start",
    "send",
    "signal",
    "cancel",
    "resume",
    "retry",
    "pause",
    "unpause",
    "fork",
    "rewind",
    "terminate",
    "purge",
    "schedules",
    "limits",
    "failures",
    "workers",
    "answer",
]
"""What can be done to workflows.

`send` is an event over HTTP that names no instance, or one in its attributes. `fork` and `rewind` are also to be shown
what either would keep. `schedules` and `limits` are whatever is
done to those. `failures` is to silence a group of failures, and `workers` to let workers drain. `answer` is to see what
workflows ask people, with the tokens, and to answer or refuse it.
"""

UNNAMED: Final = "somebody"
"""The name of a visitor over HTTP of whom `auth=` says none."""
_KNOWN: Final = frozenset(get_args(Action))


@dataclass(frozen=True, slots=True)
class Visitor:
    """The visitor's name, what they may see, and what they may do. An `auth=` function returns it."""

    name: str
    payloads: bool = True
    """Whether they see payloads that the app's codecs have sealed. Otherwise these stay sealed."""
    actions: bool | Collection[Action] = True
    """What they may do: everything, nothing (False), or these actions, as in `{"signal", "cancel"}`.

    The others are not offered, and are refused with 403.
    """

    def __post_init__(self) -> None:
        given: Any = self.actions
        if isinstance(given, bool):
            return
        names = frozenset(str(each) for each in given) if _is_list(given) else frozenset({""})
        if not names <= _KNOWN:
            raise UsageError(
                f"Visitor(actions=…) takes True, False or a set of {', '.join(sorted(_KNOWN))}, not {given!r:.100}"
            )
        object.__setattr__(self, "actions", names)

    def may(self, action: str) -> bool:
        """Whether they may do this."""
        return self.actions if isinstance(self.actions, bool) else action in self.actions


def _is_list(given: object) -> bool:
    return isinstance(given, Collection) and not isinstance(given, str | bytes)
