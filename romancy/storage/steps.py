"""Steps: appends that write a row of the log and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.records import END, Append, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Item

__all__ = ["as_append", "as_appends", "behind"]


def behind(after: str | None) -> str | None:
    """The required writer of the row before a step, by the writer that is known. None: any. Empty: no row matches.

    Nothing but a change that reopens an instance follows the row that ended it.
    """
    return "" if after is not None and after[-1:] == END else after  # `is_end`, without a call


def as_appends(batch: Sequence[Item]) -> list[Append]:
    """The same batch without steps, for a store that has no shorter way for them."""
    return [as_append(item) if isinstance(item, Step) else item for item in batch]


def as_append(step: Step) -> Append:
    """The append that writes the same row, and is refused for the same reasons."""
    return Append(
        instance_id=step.instance_id,
        life=step.life,
        seq=step.seq,
        writer=step.writer,
        body=step.body,
        after=step.behind,
    )
