"""The loggers of bodies and of attempts: their lines say whom they are about, and a replay is silent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from romancy._logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from romancy.core import Commands

__all__ = ["OF_USERS", "AttemptLog", "BodyLog", "Lines", "unheard"]

_OF_BODIES: Final = get_logger("romancy.workflow")
_OF_ATTEMPTS: Final = get_logger("romancy.activity")
OF_USERS: Final = (_OF_BODIES.name, _OF_ATTEMPTS.name)
"""The names of the loggers that speak for user code."""


def _unheard(name: str) -> logging.Logger:
    made = logging.Logger(name, 1)  # noqa: LOG001 - one that no other logger stands above
    for one in logging.getLogger(name).filters:
        made.addFilter(one)
    return made


unheard: Final = {name: _unheard(name) for name in OF_USERS}
"""Loggers of these names for lines that are kept although the program's logging leaves them out."""


class Lines(Protocol):
    """Keeps log lines of an instance."""

    @property
    def level(self) -> int:
        """Lines below this level are not kept."""
        ...


class AttemptLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records have these fields, beside those that a line gives with `extra=`.

    `lines` are kept of them whether or not the program's logging wants them.
    """

    def __init__(
        self, fields: Mapping[str, object], logger: logging.Logger = _OF_ATTEMPTS, *, lines: Lines | None = None
    ) -> None:
        super().__init__(logger, dict(fields))
        self._lines = lines

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - its name in logging
        return super().isEnabledFor(level) or (self._lines is not None and level >= self._lines.level)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            heard = self.logger if self.logger.isEnabledFor(level) else unheard[self.logger.name]
            msg, given = self.process(msg, kwargs)
            heard.log(level, msg, *args, **{**given, "stacklevel": given.get("stacklevel", 1) + 1})


class BodyLog(AttemptLog):
    """The same for the body of a workflow. While the body is replayed, nothing is logged."""

    def __init__(self, fields: Mapping[str, object], commands: Commands) -> None:
        super().__init__(fields, _OF_BODIES, lines=commands.lines)
        self._commands = commands

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - its name in logging
        return not self._commands.replaying and super().isEnabledFor(level)
