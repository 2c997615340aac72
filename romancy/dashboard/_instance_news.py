"""Answers an open page of one instance: whether its row or its log has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from romancy.dashboard._live import Question
    from romancy.dashboard._reader import Reader

__all__ = ["instance_question"]


def instance_question(reader: Reader, instance_id: str) -> tuple[str, Question]:
    """The question of all pages of this instance, and their key. A look reads only what is new in the log."""
    life = seq = 0

    async def question() -> str:
        nonlocal life, seq
        found = await reader.store.read(instance_id, after=seq)
        if found is not None and found.instance.life != life:  # seen for the first time, or a new life
            life, seq = found.instance.life, found.instance.last_seq
            found = await reader.store.read(instance_id, after=seq)
        if found is None:
            return "gone"
        row = found.instance
        seq = found.rows[-1].seq if found.rows else seq
        return f"{row.life}.{max(seq, row.last_seq)}.{row.status}.{row.updated_at}.{row.signals}"

    return f"instance?{instance_id}", question
