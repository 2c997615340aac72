"""A client library that an activity imports where it uses it. Nothing else may import it."""

from __future__ import annotations

from romancy.errors import TerminalError


class CardRefusedError(TerminalError):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"refused with code {self.code}"

    class ForGoodError(TerminalError):
        """One in another."""
