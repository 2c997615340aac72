"""The future of a request. Who cancels it gives the answer up."""

from __future__ import annotations

from typing import Any

from romancy.core.loop.stable import StableFuture

__all__ = ["Answer"]


class Answer(StableFuture[Any]):
    """The future of a command. Cancelling it tells the run that its answer is no longer wanted."""

    __slots__ = ("id",)

    id: str

    def cancel(self, msg: Any = None) -> bool:
        if not super().cancel(msg):
            return False
        loop: Any = self.get_loop()
        if not loop.dead:
            self.give_up()
        return True

    def give_up(self) -> None:
        """Tell the run that the answer is no longer wanted."""
