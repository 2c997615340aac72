"""Numbers that tell the lives of an id apart. Keys, random values and ids of children derive from them."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from romancy.engine.surroundings import here

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["derived_life", "lives_from", "new_life"]

_chosen: ContextVar[Callable[[str], int] | None] = ContextVar("romancy_lives", default=None)


def new_life(instance_id: str) -> int:
    """A number that tells this life of an id from all others. It is random unless a test chooses it."""
    choose = _chosen.get()
    return int.from_bytes(here().octets(7)) >> 3 | 1 if choose is None else choose(instance_id)


@contextmanager
def lives_from(choose: Callable[[str], int]) -> Generator[None]:
    """Inside the block, and in the tasks that begin there, take the numbers of new lives from this function."""
    token = _chosen.set(choose)
    try:
        yield
    finally:
        _chosen.reset(token)


def derived_life(instance_id: str, before: int = 0) -> int:
    """The number that always follows the life `before` of this id. It is another one."""
    digest = hashlib.sha256(f"{before}\0{instance_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6]) | 1
