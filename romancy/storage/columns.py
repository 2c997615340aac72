"""The columns of an instance's row that all databases store as they are given, and those that are read, said once.

The scripts of an adapter have words for them, which are replaced when the scripts are loaded:

- `{given}`: the names of the given columns. `{given :}`: the parameters of these names. `{given column9}`: as many
  numbered columns, from this one. `{given $9}`: as many numbered arrays, from this one; `{given $9+}`: the next ones.
- `{ahead}`: how many microseconds one priority is worth (`romancy.storage.ranks`).
- `{instance}`: the columns of `InstanceRow`, in its order. `{instance i}`: those of this table.

A given column that is added here is a field of `Create` and of `InstanceRow`, and a column of the schemas.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, cast

from romancy.storage.ranks import AHEAD
from romancy.storage.records import InstanceRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.records import Create

__all__ = ["GIVEN", "INTEREST", "given", "instance_columns", "spelled"]

GIVEN: Final = {"workflow_name": "text", "code": "text", "priority": "smallint", "fair_line": "text"}
"""The columns of a new row that hold what the start says, each with its type. They are never null."""

INTEREST: Final = ("owner", "life", "interest_id", "address", "kind", "where_", "ahead")
"""What is written of an interest. Its place in the queue is so much `ahead` of the time."""

given: Final = cast("Callable[[Create | InstanceRow], tuple[Any, ...]]", attrgetter(*GIVEN))
"""The values of these columns, in their order."""

_WORD: Final = re.compile(r"\{given(?: (:|\$|column)(\d*)(\+?))?\}")
_INSTANCE: Final = re.compile(r"\{instance(?: (\w+))?\}")


def instance_columns(table: str = "") -> str:
    """The columns of `InstanceRow`, in its order."""
    dot = f"{table}." if table else ""
    return ", ".join(dot + name for name in InstanceRow.__struct_fields__)


def spelled(sql: str) -> str:
    """A script with what stands for its words."""
    given_named = _WORD.sub(_given, sql).replace("{ahead}", str(AHEAD))
    return _INSTANCE.sub(lambda word: instance_columns(word[1] or ""), given_named)


def _given(word: re.Match[str]) -> str:
    kind, first, later = word[1], int(word[2] or 0), len(GIVEN) if word[3] else 0
    if kind is None:
        return ", ".join(GIVEN)
    if kind == ":":
        return ", ".join(f":{name}" for name in GIVEN)
    numbers = range(first + later, first + later + len(GIVEN))
    if kind == "$":
        return ", ".join(f"${number}::{type_}[]" for number, type_ in zip(numbers, GIVEN.values(), strict=True))
    return ", ".join(f"column{number}" for number in numbers)
