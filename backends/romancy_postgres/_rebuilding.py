"""How PostgreSQL stores what searches read of an instance, and how that is renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.storage.query import path_key
from romancy.storage.sqlkit.reading import instance_of
from romancy.storage.sqlkit.rebuilding import Spelling
from romancy.storage.sqlkit.statements import Answer, Ask, ask_last
from romancy_postgres._columns import decoded, error_bytes, index_paths, members_text, stored_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.rebuilding import Index
    from romancy.storage.records import InstanceRow
    from romancy.storage.sqlkit.statements import Operation, Own, Values

__all__ = ["OWN", "SPELLING"]

_HASH: Final = 64
"""The length of a hash. A path of that length may be one."""


def _path(path: str) -> str:
    return stored_path(path_key(path))


def _set_of(index: Index) -> tuple[str, str]:
    return index_paths(index), members_text(index)


def _declared(member: str) -> tuple[str, str] | None:
    return (member, member) if len(member) < _HASH else None


def _row(line: Sequence[Any]) -> InstanceRow:
    return instance_of(decoded(line))


SPELLING: Final = Spelling(path=_path, set_of=_set_of, declared=_declared, error=error_bytes, row=_row)


def _renew(values: Values) -> Operation[Answer]:
    """The statements of runs that begin. The inputs stay."""
    runs = [(one, run_from, None, *rest) for one, _, run_from, *rest in values["runs"]]
    interests = Ask("interests_change", {"gone": [], "wanted": values["interests"]})
    yield from ask_last(
        Ask("renew_runs", {"runs": runs}),
        Ask("index_renewed", {"index": values["index"]}),
        *((interests,) if values["interests"] else ()),
    )
    return Answer((), len(runs))


OWN: Final[Own] = {"renew": _renew}
