"""How a server stores what searches read of an instance, and how that is renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.columns import INTEREST
from romancy.storage.query import path_key
from romancy.storage.sqlkit.rebuilding import Spelling, lives_in_parts, restore_in_parts
from romancy.storage.sqlkit.statements import Answer, Ask, ask_last
from romancy_mysql._effects import index_path, index_set
from romancy_mysql._sql import Text, comma, row, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.storage.sqlkit.statements import Operation, Own, Values

__all__ = ["OWN", "SPELLING"]


def _declared(member: str) -> tuple[str, str]:
    return index_path(member), path_key(member)


SPELLING: Final = Spelling(path=index_path, set_of=index_set, declared=_declared)


def _last(ids: list[str]) -> list[Ask]:
    return [Ask("last_life", {"instance_id": one}) for one in ids]


def _lives_with_rows(values: Values) -> Operation[Answer]:
    """Rows, index and logs are of one snapshot."""
    begin, end = (Ask("one_moment", {}), Ask("begin_moment", {})), (Ask("end_moment", {}),)
    return (yield from lives_in_parts(values, _last, begin, end))


def _renew(values: Values) -> Operation[Answer]:
    yield from ask_last(*_renewals(values))
    return Answer((), len(values["runs"]))


def _renewals(values: Values) -> Iterator[Ask]:
    """The transaction holds the rows of the instances."""
    runs, index, interests = values["runs"], values["index"], values["interests"]
    sets = {(workflow, short, paths) for _, workflow, _, _, short, paths in runs}
    searched = [
        (one, None if projection is None else Text(projection), short) for one, _, _, projection, short, _ in runs
    ]
    yield Ask("add_index_sets", {"rows": comma(row(*each) for each in sorted(sets))})
    yield Ask("drop_index", {"ids": [run[0] for run in runs]})
    yield Ask("renew_projections", {"renewed": searched})
    if index:
        yield Ask("add_index", {"index": index})
    if interests:
        yield Ask("add_interests", {"rows": rows_of(INTEREST, interests)})


OWN: Final[Own] = {"lives_with_rows": _lives_with_rows, "restore_instances": restore_in_parts, "renew": _renew}
