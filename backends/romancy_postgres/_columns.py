"""Items as columns: the arrays of a statement's parameters, in the order in which it names them. Pure."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import astuple

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.columns import GIVEN, given
from romancy.storage.creation import fresh
from romancy.storage.query import path_key
from romancy.storage.records import InstanceRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from romancy.storage.records import Append, Change, Create, Delivery, OutboxRow, Step

__all__ = [
    "RUN_COLUMNS",
    "First",
    "Flat",
    "PathSet",
    "change_columns",
    "child_columns",
    "columns",
    "decoded",
    "delivery_columns",
    "error_bytes",
    "error_text",
    "first_columns",
    "firsts_of",
    "given_columns",
    "index_paths",
    "index_rows",
    "log_columns",
    "mail_columns",
    "members_text",
    "new_run_columns",
    "outbox_columns",
    "path_sets",
    "renewal_columns",
    "set_columns",
    "start_columns",
    "step_columns",
    "stored_path",
]

_ERROR: Final = InstanceRow.__struct_fields__.index("error")
_LONGEST_PATH = 255
_LONGEST_SET = 1000
_RELEASING = (*TERMINAL_STATUSES, Status.STUCK)
_NO_CHANGE = (None,) * 8
RUN_COLUMNS = 5
_NO_RUN = (None,) * RUN_COLUMNS

Index = tuple[tuple[str, str | None], ...]
First = tuple["Append", "Create"]
"""An append that creates an instance, and the instance."""
PathSet = tuple[str, str]
"""A workflow and the name of a set of paths."""


class Flat:
    """A column for the driver, which iterates every array twice.

    First the driver checks each element against two abstract base classes (is it an array?), then it writes the
    elements. The check costs seven times as much as the writing, and its answer is known. So the first iteration yields
    nothing.
    """

    __slots__ = ("_asked", "_values")

    def __init__(self, values: Sequence[object]) -> None:
        self._values = values
        self._asked = False

    @property
    def values(self) -> Sequence[object]:
        """The column itself, for another driver."""
        return self._values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[object]:
        self._asked = not self._asked
        return iter(() if self._asked else self._values)


def columns(rows: Sequence[tuple[object, ...]], *, width: int) -> list[list[object]]:
    """The columns of a table, which nobody changes; of one without rows, so many empty ones."""
    return list(map(list, zip(*rows, strict=True))) if rows else [[]] * width


def log_columns(items: Sequence[Append]) -> list[list[object]]:
    """Instance, life, seq, writer and body of each append, and the writer of the row before."""
    return columns(
        [(item.instance_id, item.life, item.seq, item.writer, item.body, item.behind) for item in items], width=6
    )


def step_columns(steps: Sequence[Step]) -> list[list[object]]:
    """The same columns of steps, whose values are in this order."""
    return [list(column) for column in zip(*map(astuple, steps), strict=True)]


def change_columns(items: Sequence[Append]) -> list[list[object]]:
    """The columns of `append_changes` after those of the log, without the further instances to lock."""
    changes = [(*(_NO_CHANGE if item.change is None else _changed(item.change)), len(item.consumed)) for item in items]
    return [*columns(changes, width=len(_NO_CHANGE) + 1), *mail_columns(items)]


def _changed(change: Change) -> tuple[object, ...]:
    releases = change.release or change.status in _RELEASING
    refused_by = "" if change.forgive else change.refused_by
    error = error_bytes(change.error)
    return change.status, change.seen, releases, change.wake_at, error, change.code, refused_by, change.finds


def mail_columns(items: Sequence[Append]) -> list[list[object]]:
    """Instance and id of each message that appends consume."""
    return columns([(item.instance_id, delivery_id) for item in items for delivery_id in item.consumed], width=2)


def renewal_columns(items: Iterable[Append]) -> list[list[object]]:
    """The columns of `renew_runs`."""
    renewed = [
        (item.instance_id, *_renewed(change))
        for item in items
        if (change := item.change) and change.run_from is not None
    ]
    return columns(renewed, width=RUN_COLUMNS + 1)


def new_run_columns(items: Sequence[Append]) -> list[list[object]]:
    """The columns of a new run in `append_effects`, one row for each append: null where none begins."""
    runs = [change if (change := item.change) and change.run_from is not None else None for item in items]
    return columns([_NO_RUN if change is None else _renewed(change) for change in runs], width=RUN_COLUMNS)


def _renewed(change: Change) -> tuple[object, ...]:
    index = change.index
    paths, members = (None, None) if index is None else (index_paths(index), members_text(index))
    return change.run_from, change.input, _projection_text(change.projection), paths, members


def start_columns(firsts: Sequence[First]) -> list[list[object]]:
    """The columns of `start`."""
    return [*first_columns(firsts), *given_columns(firsts)]


def first_columns(firsts: Sequence[First]) -> list[list[object]]:
    """The columns of `start` and `append_first` for appends that create instances, without the given ones."""
    rows = [fresh(item, create) for item, create in firsts]
    return [
        *_new_columns(firsts),
        [row.status for row in rows],
        [create.owner for _, create in firsts],
        [row.wake_at for row in rows],
        [row.delay for row in rows],
        [error_bytes(row.error) for row in rows],
        *index_rows((item.instance_id, create.index) for item, create in firsts),
    ]


def child_columns(children: Sequence[First]) -> list[list[object]]:
    """The columns of children in `append_effects` and `append_first`, without those of their parents and given ones."""
    return [
        *_new_columns(children),
        [create.at for _, create in children],
        [create.delay for _, create in children],
        *index_rows((item.instance_id, create.index) for item, create in children),
    ]


def _new_columns(firsts: Sequence[First]) -> list[list[object]]:
    """What the log and the row of every new instance have."""
    rows = [
        (
            item.instance_id,
            item.life,
            item.writer,
            item.body,
            create.input,
            _projection_text(create.projection),
            index_paths(create.index),
            create.parent,
        )
        for item, create in firsts
    ]
    return columns(rows, width=8)


def given_columns(firsts: Sequence[First]) -> list[list[object]]:
    """The given columns of new instances, which are the last parameters of a statement."""
    return columns([given(create) for _, create in firsts], width=len(GIVEN))


def firsts_of(items: Iterable[Append]) -> list[First]:
    """Those of these appends that create instances, with what they create."""
    return [(item, item.create) for item in items if item.create is not None]


def index_rows(indexes: Iterable[tuple[str, Index]]) -> list[list[object]]:
    """Instance, path and value of every declared path that leads to a value."""
    rows = [
        (instance_id, stored_path(path_key(path)), value)
        for instance_id, index in indexes
        for path, value in index
        if value is not None
    ]
    return columns(rows, width=3)


def outbox_columns(rows: Iterable[OutboxRow]) -> list[list[object]]:
    """The columns of `outbox_add`."""
    return columns([(row.outbox_id, row.topic, row.body, row.key, row.instance_id) for row in rows], width=5)


def delivery_columns(deliveries: Sequence[Delivery]) -> list[list[object]]:
    """The columns of `deliver` and `post`."""
    return columns([(one.instance_id, one.delivery_id, one.body, one.dedupe) for one in deliveries], width=4)


def path_sets(firsts: Iterable[First]) -> dict[PathSet, list[str]]:
    """Every set of declared paths that new instances use: its paths by workflow and name of the set."""
    used = {(create.workflow_name, tuple([path for path, _ in create.index])) for _, create in firsts}
    return {(workflow_name, _set_name(paths)): _set_members(paths) for workflow_name, paths in used}


def set_columns(sets: dict[PathSet, list[str]]) -> list[list[object]]:
    """The columns of `index_sets`. Paths hold no line break, so the members of a set can be one text."""
    return [[name for name, _ in sets], [paths for _, paths in sets], ["\n".join(one) for one in sets.values()]]


def index_paths(index: Index) -> str:
    """The name of a set of declared paths: the paths themselves, or a hash if they are too long for an index."""
    return _set_name(tuple([path for path, _ in index])) if index else ""


@lru_cache
def _set_name(paths: tuple[str, ...]) -> str:
    text = "\n".join(_set_members(paths))
    return text if len(text) <= _LONGEST_SET else sha256(text.encode()).hexdigest()


def members_text(index: Index) -> str:
    """The members of a set of declared paths, one a line."""
    return "\n".join(_set_members(path for path, _ in index))


def _set_members(paths: Iterable[str]) -> list[str]:
    return sorted(stored_path(path_key(path)) for path in paths)


def stored_path(key: str) -> str:
    """The key of a path as the index stores it. A key that is too long for an index entry is hashed."""
    return key if len(key) <= _LONGEST_PATH else sha256(key.encode()).hexdigest()


def error_bytes(error: str | None) -> bytes | None:
    """An error's text as bytes: it may hold NUL, which no text column accepts."""
    return None if error is None else error.encode()


def error_text(error: bytes | None) -> str | None:
    """The text of a stored error."""
    return None if error is None else error.decode()


def decoded(row: Sequence[Any]) -> tuple[Any, ...]:
    """The columns of an instance, and what comes after them, with the error as text."""
    return (*row[:_ERROR], error_text(row[_ERROR]), *row[_ERROR + 1 :])


def _projection_text(projection: bytes | None) -> str | None:
    return None if projection is None else projection.decode("ascii")
