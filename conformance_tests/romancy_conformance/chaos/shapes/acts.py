"""What the activities of the shapes do outside of the database: a line in a file for each effect.

The effects take no time and await nothing, so that an end, a cancellation and the append before them meet.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from romancy import RetryPolicy, activity, activity_context, compensation
from romancy_conformance.chaos.plain import outside
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DO", "FORMS", "UNDO", "Act", "Stood", "put", "read_acts", "stood", "take_back"]

DO, UNDO = "do", "undo"
_ACTS, _STOOD = "acts.jsonl", "stood.jsonl"


class Act(Struct, frozen=True):
    """One effect."""

    what: str
    instance: str
    activity: str
    key: str
    number: int
    process: int
    at: float
    """The machine's monotonic clock, which all its processes share."""


class Stood(Struct, frozen=True):
    """A time in which a process did nothing, or may have: it can have lost its lease."""

    process: int
    """0: any process."""
    begin: float
    end: float


def _add(name: str, line: Act | Stood) -> None:
    """Add a line in one call, so that processes and threads do not mix their lines."""
    file = os.open(outside[-1].with_name(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, msgspec.json.encode(line) + b"\n")
    finally:
        os.close(file)


def _act(what: str, number: int) -> None:
    ctx = activity_context()
    act = Act(what, ctx.instance_id, ctx.activity_id, ctx.idempotency_key, number, stage.process(), stage.moment())
    _add(_ACTS, act)


def stood(begin: float, end: float) -> None:
    """Note that this process stood still."""
    _add(_STOOD, Stood(stage.process(), begin, end))


def read_acts(folder: Path) -> tuple[list[Act], list[Stood]]:
    """Return all effects of a round, and when its processes stood still."""
    acts, stood = folder / _ACTS, folder / _STOOD
    return (
        [msgspec.json.decode(line, type=Act) for line in acts.read_bytes().splitlines()] if acts.exists() else [],
        [msgspec.json.decode(line, type=Stood) for line in stood.read_bytes().splitlines()] if stood.exists() else [],
    )


@compensation
async def take_back(number: int) -> None:
    _act(UNDO, number)


@compensation
def take_back_on_a_thread(number: int) -> None:
    _act(UNDO, number)


@activity(compensation=take_back, retry=RetryPolicy.none())
async def put(number: int) -> int:
    _act(DO, number)
    return number


@activity(compensation=take_back_on_a_thread, retry=RetryPolicy.none())
def put_on_a_thread(number: int) -> int:
    _act(DO, number)
    return number


@activity(commit="lazy", retry=RetryPolicy.none())
async def put_lazily(number: int) -> int:
    """It has no compensation: what is lazy cannot have one."""
    _act(DO, number)
    return number


FORMS = {"coroutine": put, "thread": put_on_a_thread, "lazy": put_lazily}
"""The forms of the same quick activity."""
