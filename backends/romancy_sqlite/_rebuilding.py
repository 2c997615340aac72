"""How a file stores what searches read of an instance, and how that is renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.columns import INTEREST
from romancy.storage.query import path_key
from romancy.storage.sqlkit.rebuilding import Spelling, lives_in_parts, restore_in_parts
from romancy.storage.sqlkit.statements import Answer, Ask, ask_all
from romancy_sqlite._bulk import index_paths

if TYPE_CHECKING:
    from romancy.storage.rebuilding import Index
    from romancy.storage.sqlkit.statements import Operation, Own, Values

__all__ = ["OWN", "SPELLING"]


def _set_of(index: Index) -> tuple[str, str]:
    paths = index_paths(index)
    return paths, paths


def _declared(member: str) -> tuple[str, str]:
    return member, member


SPELLING: Final = Spelling(path=path_key, set_of=_set_of, declared=_declared)


def _last(ids: list[str]) -> list[Ask]:
    return [Ask("last_lives", {"ids": ids})]


def _lives_with_rows(values: Values) -> Operation[Answer]:
    return lives_in_parts(values, _last)


def _renew(values: Values) -> Operation[Answer]:
    runs = values["runs"]
    yield from ask_all(
        Ask("renew_projections", {"renewed": [(one, projection, paths) for one, _, _, projection, paths, _ in runs]}),
        Ask("add_index_sets", {"rows": [(workflow, paths) for _, workflow, _, _, paths, _ in runs]}),
        Ask("drop_index", {"ids": [run[0] for run in runs]}),
        Ask("add_index", {"index": values["index"]}),
        *(Ask("add_interest", dict(zip(INTEREST, row, strict=True))) for row in values["interests"]),
    )
    return Answer((), len(runs))


OWN: Final[Own] = {
    "lives_with_rows": _lives_with_rows,
    "restore_instances": restore_in_parts,
    "renew": _renew,
}
