"""The loggers of bodies and of attempts: their lines say whom they are about, and a replay is silent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from romancy._logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from romancy.core import Commands

__all__ = ["AttemptLog", "BodyLog"]

_OF_BODIES: Final = get_logger("romancy.workflow")
_OF_ATTEMPTS: Final = get_logger("romancy.activity")


class AttemptLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records have these fields, beside those that a line gives with `extra=`."""

    def __init__(self, fields: Mapping[str, object], logger: logging.Logger = _OF_ATTEMPTS) -> None:
        super().__init__(logger, dict(fields))

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


class BodyLog(AttemptLog):
    """The same for the body of a workflow. While the body is replayed, nothing is logged."""

    def __init__(self, fields: Mapping[str, object], commands: Commands) -> None:
        super().__init__(fields, _OF_BODIES)
        self._commands = commands

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - its name in logging
        return not self._commands.replaying and super().isEnabledFor(level)
